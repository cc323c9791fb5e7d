"""The vendors' own OpenAPI documents, as judges of requests and answers.

They are third parties' and stay outside of the repository, in ``../shared/specs``. Without them the
tests that need them are skipped; in CI (``CI=true``) their absence is a failure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from jsonschema_path import SchemaPath
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.validation.schemas.exceptions import InvalidSchemaValue
from werkzeug.datastructures import Headers, ImmutableMultiDict

SHARED = Path(__file__).resolve().parents[2] / "shared"
SPECS, FACTS = SHARED / "specs", SHARED / "facts"
FILES = {
    "trunking": "twilio_trunking_v1.openapi.json",
    "api": "twilio_api_v2010.openapi.json",
    "routes": "twilio_routes_v2.openapi.json",
    "monitor": "twilio_monitor_v1.openapi.json",
    "portsip": "portsip_pbx_22.2.openapi.json",
    "portsip_more": "portsip_pbx_22.2_more.openapi.json",
}
#: Two parts of one document.
PORTSIP = frozenset({"portsip", "portsip_more"})
METHODS = ("get", "post", "delete")
#: What the clients send although the documents here do not have it, with what says that it exists.
NOT_IN_THE_DOCUMENTS = {
    ("GET", "/api/admin/settings"): "PortSIP's untrimmed document of 22.2 (facts: PortSIP 1 and 2)",
}


def require(folder: Path, what: str) -> None:
    """Skip a test without a folder of third parties' data, saying so; fail in CI."""
    if folder.is_dir():
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} are required in CI and missing: {folder}")
    pytest.skip(f"not checked against {what}: they are not here ({folder})")


def require_documents() -> None:
    """Skip a test without the vendors' documents, saying so; fail in CI."""
    require(SPECS, "the vendors' OpenAPI documents")


@cache
def content(name: str) -> dict[str, Any]:
    """Return a document, amended (``amend``), at the sandbox's base path."""
    found = json.loads((SPECS / FILES[name]).read_text(encoding="utf-8"))
    for item in found["paths"].values():
        item.pop("servers", None)  # Twilio repeats its own host at every path
    amend(name, found)
    found["servers"] = [{"url": "http://sandbox/api" if name in PORTSIP else "http://sandbox"}]
    return found


@cache
def validator(name: str) -> OpenAPI:
    """Return openapi-core's validator of a document."""
    config = Config(
        spec_validator_cls=None,
        # a file is a binary string to the documents, bytes to openapi-core
        extra_media_type_deserializers={"application/octet-stream": lambda body: body.decode("utf-8")},
    )
    return OpenAPI(SchemaPath.from_dict(content(name)), config=config)


_TWILIO_ERROR = {
    "type": "object",
    "required": ["code", "message", "more_info", "status"],
    "properties": {
        "code": {"type": "integer"},
        "message": {"type": "string"},
        "more_info": {"type": "string"},
        "status": {"type": "integer"},
    },
    "additionalProperties": False,
}
#: That of a 401 says more (facts, section 6). A schema of its own: OpenAPI 3.0 has no conditions.
_TWILIO_UNAUTHORIZED = {
    **_TWILIO_ERROR,
    "required": [*_TWILIO_ERROR["required"], "detail"],
    "properties": {**_TWILIO_ERROR["properties"], "detail": {"type": "string"}},
}
_PORTSIP_ERROR = {
    "type": "object",
    "required": ["errors"],
    "properties": {
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {name: {"type": "string"} for name in ("code", "message", "detail")},
            },
        }
    },
}


def amend(name: str, found: dict[str, Any]) -> None:
    """Mend what the documents get wrong or leave out against their own examples and prose.

    - Twilio 2010-04-01: the links of a page have the format ``uri`` but are relative in every example.
    - Twilio's: no refusal is listed; its guide "Twilio's Response" describes one body for all.
    - Twilio's events: an actor's pattern is a user's, its description has accounts as well.
    - PortSIP: refusals have no schema; the chapter "Errors" describes one body for all. Any operation
      that needs a token is refused without one (401).
    - PortSIP, audit logs: the operation declares no parameter; the chapter "Collections" has those that
      every collection takes. Their ``ip`` has the format of a date.
    - PortSIP, sign-in: ``oneOf`` two shapes without any required field, so that both fit always.
    """
    _amend_schemas(found)
    if name == "monitor":
        event = found["components"]["schemas"]["monitor.v1.event"]
        event["properties"]["actor_sid"]["pattern"] = "^(US|AC)[0-9a-fA-F]{32}$"
    if name == "portsip_more":
        of_every_collection = [
            {"name": name, "in": "query", "schema": {"type": kind}}
            for name, kind in (
                ("filter", "string"),
                ("orderby", "string"),
                ("skip", "integer"),
                ("top", "integer"),
            )
        ]
        found["paths"]["/audit_logs"]["get"]["parameters"] = of_every_collection
    error = _PORTSIP_ERROR if name in PORTSIP else _TWILIO_ERROR
    for item in found["paths"].values():
        for method in METHODS:
            if method not in item:
                continue
            answers = item[method]["responses"]
            if name not in PORTSIP:
                answers |= {"4XX": {"description": "Error"}, "401": {"description": "Error"}}
            elif item[method].get("security") != []:
                answers.setdefault("401", {"description": "Error"})
            for status, answer in answers.items():
                if status.startswith("4"):
                    special = name not in PORTSIP and status == "401"
                    schema = _TWILIO_UNAUTHORIZED if special else error
                    answer["content"] = {"application/json": {"schema": schema}}


def _amend_schemas(found: dict[str, Any]) -> None:
    nodes: list[Any] = [found]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            for field, schema in (node.get("properties") or {}).items():
                if isinstance(schema, dict) and (field == "uri" or field.endswith("_page_uri")):
                    schema.pop("format", None)
            for shape in node.get("oneOf") or []:
                if {"access_token", "refresh_token"} <= set(shape.get("properties", {})):
                    shape["required"] = ["token_type", "access_token", "refresh_token", "expires_in"]
                elif "two_factor_enabled" in shape.get("properties", {}):
                    shape["required"] = ["two_factor_enabled", "token"]
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []


def operations(*names: str) -> set[tuple[str, str]]:
    """Return method and path of every operation of some documents."""
    return {
        (method.upper(), path)
        for name in names
        for path, item in content(name)["paths"].items()
        for method in item
        if method in METHODS
    }


class _Request:
    """A request as openapi-core wants to see it."""

    def __init__(self, request: httpx.Request) -> None:
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(request.url.params.multi_items()),
            header=Headers(request.headers.items()),
        )
        self.host_url = "http://sandbox"
        self.path = request.url.path
        self.method = request.method.lower()
        self.body = request.content or None
        self.content_type = _media_type(request.headers)


class _Answer:
    """An answer as openapi-core wants to see it."""

    def __init__(self, response: httpx.Response) -> None:
        self.data = response.content
        self.status_code = response.status_code
        self.content_type = _media_type(response.headers)
        self.headers = Headers(response.headers.items())


def _media_type(headers: httpx.Headers) -> str:
    return headers.get("content-type", "").split(";")[0]


class Contract:
    """Validates every request and answer of an httpx client, as they go over the wire.

    ``seen`` are the operations whose request and answer were right, ``broken`` what was not, in words.
    What the documents do not have at all is broken unless ``NOT_IN_THE_DOCUMENTS`` names it; it is
    kept in ``undocumented``. Query parameters and body fields that an operation does not have are
    broken, too: the documents' schemas would let them pass.
    """

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.undocumented: set[tuple[str, str]] = set()
        self.broken: list[str] = []
        self.checked = 0

    def check(self, response: httpx.Response) -> None:
        """Check one answer and the request that it answers."""
        response.read()
        self.checked += 1
        request = response.request
        name = _document_of(request.url.path)
        template = _template(name, request.url.path)
        if template is None:
            operation = (request.method, request.url.path)
            self.undocumented.add(operation)
            if operation not in NOT_IN_THE_DOCUMENTS:
                self.broken.append(f"{request.method} {request.url}: not in the documents")
            return
        self.broken += [
            f"{request.method} {request.url} {response.status_code}: {problem}"
            for problem in self._problems(name, template, response)
        ]
        self.seen.add((request.method, template))

    def _problems(self, name: str, template: str, response: httpx.Response) -> Iterator[str]:
        request = response.request
        item = content(name)["paths"][template]
        operation = item.get(request.method.lower())
        if operation is not None:
            yield from _surplus(name, item, operation, request)
        asked = _Request(request)
        for judge in (
            lambda: validator(name).validate_request(asked),
            lambda: validator(name).validate_response(asked, _Answer(response)),
        ):
            try:
                judge()
            except OpenAPIError as error:
                yield _told(error)


def _told(error: OpenAPIError) -> str:
    for one in (error, error.__cause__):
        if isinstance(one, InvalidSchemaValue):
            return "; ".join(f"{list(reason.path)}: {reason.message}" for reason in one.schema_errors)
    return f"{error!r} {error.__cause__!r}"


def _surplus(
    name: str, item: dict[str, Any], operation: dict[str, Any], request: httpx.Request
) -> Iterator[str]:
    parameters = [*item.get("parameters", []), *operation.get("parameters", [])]
    known = {resolved(name, one)["name"] for one in parameters if resolved(name, one)["in"] == "query"}
    if unknown := set(request.url.params) - known:
        yield f"the operation has no query parameter {', '.join(sorted(unknown))}"
    bodies = resolved(name, operation.get("requestBody", {})).get("content", {})
    schema = bodies.get(_media_type(request.headers), {}).get("schema")
    if request.content and not bodies:
        yield "the operation has no body"
    elif request.content and schema is not None:
        body = _fields(request)
        if unknown := set(body) - set(properties(name, schema)):
            yield f"the operation's body has no field {', '.join(sorted(unknown))}"


def _fields(request: httpx.Request) -> dict[str, Any]:
    if _media_type(request.headers) == "application/json":
        body = json.loads(request.content)
        return body if isinstance(body, dict) else {}
    return dict(parse_qsl(request.content.decode(), keep_blank_values=True))


def resolved(name: str, node: dict[str, Any]) -> dict[str, Any]:
    """Return what a node of a document refers to, or the node itself."""
    while "$ref" in node:
        found: Any = content(name)
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        node = found
    return node


def properties(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the properties of an object's schema, also those of its parts."""
    schema = resolved(name, schema)
    found = dict(schema.get("properties", {}))
    for part in [*schema.get("allOf", []), *schema.get("oneOf", []), *schema.get("anyOf", [])]:
        found |= properties(name, part)
    return found


def _document_of(path: str) -> str:
    if path.startswith(("/v1/Events", "/v1/Alerts")):
        return "monitor"
    if path.startswith("/v1/"):
        return "trunking"
    if path.startswith("/v2/"):
        return "routes"
    if path.startswith("/api/audit_logs"):
        return "portsip_more"
    return "api" if path.startswith("/2010-04-01/") else "portsip"


def _template(name: str, path: str) -> str | None:
    """Return the document's path for a path; the one with most literal parts wins."""
    parts = path.removeprefix("/api").split("/")
    fitting = [
        template
        for template in content(name)["paths"]
        if len(template.split("/")) == len(parts)
        and all(_fits(want, have) for want, have in zip(template.split("/"), parts, strict=True))
    ]
    return min(fitting, key=lambda template: template.count("{"), default=None)


def _fits(want: str, have: str) -> bool:
    """Whether a part of a path fits; ``{Sid}.json`` fits what ends in ``.json``."""
    if "{" not in want:
        return want == have
    return have.endswith(want.partition("}")[2])
