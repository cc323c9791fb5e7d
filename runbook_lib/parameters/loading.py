"""Reading parameters: YAML files, or the content that papermill injects; all problems at once."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from ..errors import InputError, SecretError
from ..secret import SecretRef, resolve, sip_password_problem
from ..sip_uri import not_public
from .model import Site, Tenant
from .types import KeyedError, Strict

Source = str | Path | Mapping[str, Any]
Model = TypeVar("Model", Site, Tenant)
PathInFile = tuple[str | int, ...]

LARGEST_FILE = 1_000_000
MOST_NODES = 50_000
SHORTEST_LIVE_SECRET = 8


def project_root() -> Path:
    """Return the project's root folder, from which relative paths start, wherever a notebook runs."""
    given = os.environ.get("RUNBOOK_ROOT")
    return Path(given).resolve() if given else Path(__file__).resolve().parent.parent.parent


def load(site: Source, tenant: Source, root: Path) -> tuple[Site, Tenant]:
    """Read and check a site and a tenant, and make sure that every secret resolves.

    Raises ``InputError`` with all problems of both, each as ``file:line: key: what is wrong``;
    no value of a secret is repeated.
    """
    site_file, tenant_file = _Document.read(site, "site", root), _Document.read(tenant, "tenant", root)
    the_site, the_tenant = site_file.model(Site), tenant_file.model(Tenant)
    if the_site is not None:
        _check_site(the_site, site_file, root)
    if the_site is not None and the_tenant is not None:
        _check_tenant(the_site, the_tenant, tenant_file, root)
    problems = site_file.problems + tenant_file.problems
    if problems or the_site is None or the_tenant is None:
        raise InputError(problems, next_step="correct the parameters; nothing was sent")
    return the_site, the_tenant


def load_site(site: Source, root: Path) -> Site:
    """Read and check a site alone; see ``load``."""
    document = _Document.read(site, "site", root)
    the_site = document.model(Site)
    if the_site is not None:
        _check_site(the_site, document, root)
    if document.problems or the_site is None:
        raise InputError(document.problems, next_step="correct the parameters; nothing was sent")
    return the_site


@dataclass
class _Document:
    """One file's content, where its keys stand, and what is wrong with it."""

    key: str
    name: str
    content: Any = None
    lines: dict[PathInFile, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, source: Source, key: str, root: Path) -> _Document:
        if isinstance(source, Mapping):
            return cls(key, "", dict(source) if set(source) == {key} else {key: dict(source)})
        document = cls(key, _shown(source, root))
        if not isinstance(source, str | Path):
            document.name = ""
            document.add((key,), "give a file's path, or the file's content as a mapping")
            return document
        try:
            raw = (root / source).read_bytes()
            if len(raw) > LARGEST_FILE:
                document.add((), f"larger than {LARGEST_FILE:,} bytes: not a parameter file")
                return document
            document._parse(raw.decode("utf-8"))
        except OSError as error:
            document.add((), f"cannot be read ({error.strerror})")
        except UnicodeDecodeError:
            document.add((), "is not UTF-8 text")
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            document.lines[()] = mark.line + 1 if mark else 0
            document.add((), f"is not readable YAML ({error.problem or error.context or 'syntax'})")
        except (YAMLError, ValueError, RecursionError) as error:
            document.add((), f"is not readable YAML ({type(error).__name__})")
        return document

    def add(self, path: PathInFile, message: str) -> None:
        """Add a problem at a key, with the file and the line where it stands."""
        where = path
        while where and where not in self.lines:
            where = where[:-1]
        line = self.lines.get(where)
        place = f"{self.name}:{line}" if line else self.name
        key = ".".join(str(part) for part in path)
        self.problems.append(": ".join(part for part in (place, key, message) if part))

    def model(self, model: type[Model]) -> Model | None:
        """Return the content as a model, or ``None`` with the problems added."""
        if self.problems:
            return None
        if not isinstance(self.content, dict) or self.content.keys() != {self.key}:
            self._wrong_top()
            return None
        try:
            return model.model_validate(self.content[self.key])
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=True, include_input=False):
                cause = detail.get("ctx", {}).get("error")
                deeper = cause.path if isinstance(cause, KeyedError) else ()
                self.add((self.key, *detail["loc"], *deeper), _message(detail, model))
            return None

    def _wrong_top(self) -> None:
        if not isinstance(self.content, dict) or not self.content:
            self.add((), f"holds no mapping with the one key {self.key}")
            return
        for other in self.content:
            if other != self.key:
                self.add(
                    (str(other),), f"unknown top-level key: a {self.key} file has exactly one, {self.key}"
                )
        if self.key not in self.content:
            self.add((self.key,), "is missing")

    def _parse(self, text: str) -> None:
        yaml = YAML(typ="safe", pure=True)
        tree = yaml.compose(text)
        if tree is None:
            return
        for count, (path, node) in enumerate(_walk(tree, ())):
            if count > MOST_NODES:
                self.add((), "expands to more than any parameter file holds (aliases)")
                return
            self.lines.setdefault(path, node.start_mark.line + 1)
            if isinstance(node, MappingNode):
                self._duplicates(path, node)
        if not self.problems:
            self.content = YAML(typ="safe", pure=True).load(text)

    def _duplicates(self, path: PathInFile, node: MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                self.lines[(*path, key.value)] = line
                self.add((*path, key.value), f"duplicate key, first on line {seen[key.value]}")
            seen.setdefault(key.value, line)


def _shown(source: object, root: Path) -> str:
    """A file as people call it: relative to the project's root, if it lies there."""
    path = Path(str(source))
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _walk(node: Node, path: PathInFile) -> Iterator[tuple[PathInFile, Node]]:
    yield path, node
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield (*path, str(key.value)), key
            yield from _walk(value, (*path, str(key.value)))
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*path, index))


def _message(detail: ErrorDetails, model: type[Strict]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, detail["loc"][:-1])
        close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        return (
            f"unknown key; did you mean {close[0]}?"
            if close
            else f"unknown key; known are {', '.join(known)}"
        )
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    text = detail["msg"]
    return text[0].lower() + text[1:]


def _known_keys(model: type[Strict], path: PathInFile) -> list[str]:
    """The keys that a mapping at a path of the model may have."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, Strict) and part in current.model_fields:
            current = _strict_in(current.model_fields[str(part)].annotation)
    return sorted(current.model_fields) if isinstance(current, type) and issubclass(current, Strict) else []


def _strict_in(annotation: Any) -> Any:
    """The mapping's model inside of an annotation such as ``dict[str, TwilioAccount]``."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next((found for one in get_args(annotation) if (found := _strict_in(one)) is not None), None)


def _check_site(site: Site, document: _Document, root: Path) -> None:
    if site.target == "sandbox":
        from ..sandbox import secrets as sandbox_secrets  # only a sandbox site pays for the import

        sandbox_secrets.ensure(root)
    _check_addresses(site, document, ("site", "pbx", "address"), [site.pbx.address])
    for index, one in enumerate(site.pbx.signalling_ips or ()):
        _check_addresses(site, document, ("site", "pbx", "signalling_ips", index), [one])
    for name, account in site.twilio_accounts.items():
        for key in ("auth_token", "api_key_secret"):
            reference = getattr(account, key)
            if reference is not None:
                _check_secret(site, document, ("site", "twilio_accounts", name, key), reference, root)
    _check_secret(site, document, ("site", "pbx", "password"), site.pbx.password, root)
    if site.pbx.ca_file and not (root / site.pbx.ca_file).is_file():
        document.add(("site", "pbx", "ca_file"), "there is no such file")


def _check_tenant(site: Site, tenant: Tenant, document: _Document, root: Path) -> None:
    known = ", ".join(site.twilio_accounts)
    if tenant.twilio_account is None and len(site.twilio_accounts) > 1:
        document.add(("tenant", "twilio_account"), f"is missing: the site has several ({known})")
    if tenant.twilio_account is not None and tenant.twilio_account not in site.twilio_accounts:
        document.add(("tenant", "twilio_account"), f"the site has no account of this name; it has {known}")
    access = tenant.termination.ip_access_control_list
    for index, one in enumerate(access.addresses or ()):
        _check_addresses(
            site, document, ("tenant", "termination", "ip_access_control_list", "addresses", index), [one]
        )
    path = ("tenant", "termination", "credentials", "password")
    password = _check_secret(site, document, path, tenant.termination.credentials.password, root)
    problem = sip_password_problem(password) if password else None
    if problem:
        document.add(path, f"Twilio would refuse this password: {problem}")


def _check_addresses(site: Site, document: _Document, path: PathInFile, addresses: list[str]) -> None:
    for one in addresses:
        kind = not_public(one)
        if kind and not site.policies.allow_non_public_addresses:
            document.add(
                path,
                f"a {kind} address: Twilio cannot reach it (policies.allow_non_public_addresses takes it)",
            )


def _check_secret(
    site: Site, document: _Document, path: PathInFile, reference: SecretRef, root: Path
) -> str | None:
    try:
        value = resolve(reference, root).reveal()
    except SecretError as error:
        document.add(path, error.problems[0])
        return None
    if site.target == "live" and len(value) < SHORTEST_LIVE_SECRET:
        document.add(path, f"the secret at {reference} is shorter than {SHORTEST_LIVE_SECRET} characters")
    return value
