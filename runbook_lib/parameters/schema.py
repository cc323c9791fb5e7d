"""The schema for editors, and the table of every parameter for ``docs/parameters.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import create_model

from .model import Site, Tenant
from .types import Strict

HEADER = "| key | type | default | meaning |\n|---|---|---|---|"


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of both kinds of file: one top-level key, ``site`` or ``tenant``."""
    site = create_model("SiteFile", __base__=Strict, site=(Site, ...))
    tenant = create_model("TenantFile", __base__=Strict, tenant=(Tenant, ...))
    schemas = [one.model_json_schema(ref_template="#/$defs/{model}") for one in (site, tenant)]
    definitions: dict[str, Any] = {}
    for schema in schemas:
        definitions |= schema.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Parameters of the PortSIP to Twilio runbook",
        "oneOf": schemas,
        "$defs": definitions,
    }


def write_schema(path: Path) -> None:
    """Write the JSON schema, for editors."""
    path.write_text(json.dumps(json_schema(), indent=1) + "\n", encoding="utf-8")


def field_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type, default and meaning of every parameter."""
    schema = json_schema()
    for kind in schema["oneOf"]:
        for name, node in kind["properties"].items():
            yield from _rows(name, node, schema["$defs"])


def field_table() -> Iterator[str]:
    """Yield the table of parameters for ``docs/parameters.md``, line by line, in Markdown."""
    yield from HEADER.splitlines()
    for key, kind, default, meaning in field_rows():
        yield f"| `{key}` | {kind} | {default} | {meaning} |"


def _rows(
    path: str, node: dict[str, Any], definitions: dict[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    target = _definition(node, definitions)
    if target is None:
        return
    required = set(target.get("required", ()))
    if path == "tenant":
        required |= {"trunk", "termination"}  # at tenant level; see checks
    for name, child in target["properties"].items():
        inner = _definition(child, definitions)
        many = "[]" if child.get("type") == "array" else ".NAME" if "patternProperties" in child else ""
        key = f"{path}.{name}{many}"
        # A mapping with a fixed name adds nothing to its own keys.
        if inner is None or many:
            default = "required" if name in required else _default(child.get("default"))
            yield key, _type(child, definitions), default, child["description"]
        yield from _rows(key, child, definitions)


def _definition(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any] | None:
    """The mapping that a node holds, directly or as items of a list or a map."""
    options = [node, *node.get("anyOf", ()), *node.get("allOf", ()), node.get("items") or {}]
    for one in [*options, *node.get("patternProperties", {}).values()]:
        if "$ref" in one:
            found = definitions[one["$ref"].rsplit("/", 1)[1]]
            if "properties" in found:
                return found
    return None


def _type(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    if _definition(node, definitions) is not None:
        return "list" if node.get("type") == "array" else "mapping"
    options = [one for one in node.get("anyOf", [node]) if one.get("type") != "null"]
    one = options[0]
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    if one.get("type") == "array":
        return "list of texts"
    if one.get("type") == "integer":
        low, high = one.get("minimum"), one.get("maximum")
        return f"whole number {low} to {high}" if high is not None else "whole number"
    return {"boolean": "true or false", "string": "text"}.get(one.get("type", ""), "text")


def _default(value: Any) -> str:
    if value is None:
        return "none"
    return "see meaning" if isinstance(value, list) and value else f"`{json.dumps(value)}`"
