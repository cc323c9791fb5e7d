"""A tenant's parameter file while somebody edits it: its fields, and what would be written.

The fields come from the schema. The file keeps its comments, order and quotes; only what was edited differs.
No secret's value can be entered: such a field accepts references only.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from .. import product
from ..errors import InputError
from ..plain_files import describe, read, write_whole
from ..secret import SecretRef
from .document import PathInFile
from .layout import FileRow, Layout, copied, rewritten
from .schema import json_schema

KEY = "tenant"
EXAMPLES = product.PARAMETERS / "example"
#: Names in the examples that stand for the site and the tenant.
_EXAMPLE_SITE = "bigtel"
#: What an example cannot know; an empty one is a problem until somebody fills it in.
_TO_FILL_IN = ("pbx_domain", "dids")
#: Fewer characters are found everywhere, and to hide them all would say what they are.
_WORTH_HIDING = 4
_REFERENCE = "^(env|file|keyring):.+$"


@dataclass(frozen=True)
class FormField:
    """One parameter as a form shows it.

    ``kind`` is ``text``, ``number``, ``switch``, ``choice``, ``texts`` (a list), ``reference``, ``pairs``
    (texts under texts), ``rows`` (a list of mappings) or ``group`` (a mapping); the last two have ``fields``.
    """

    name: str
    kind: str
    meaning: str
    default: str = ""
    is_required: bool = False
    unit: str = ""
    choices: tuple[str, ...] = ()
    fields: tuple[FormField, ...] = ()

    def to_view(self) -> dict[str, Any]:
        """Return the field as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "meaning": self.meaning,
            "default": self.default,
            "required": self.is_required,
            "unit": self.unit,
            "choices": list(self.choices),
            "fields": [inner.to_view() for inner in self.fields],
        }


def tenant_fields() -> tuple[FormField, ...]:
    """Return every parameter of a tenant, in the order of the schema."""
    schema = json_schema()
    return tuple(_fields(schema["$defs"]["Tenant"], schema["$defs"]))


def _fields(definition: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[FormField]:
    required = set(definition.get("required", ()))
    for name, node in definition["properties"].items():
        yield _field(name, node, definitions, is_required=name in required)


def _field(
    name: str, node: Mapping[str, Any], definitions: Mapping[str, Any], *, is_required: bool
) -> FormField:
    options = [option for option in node.get("anyOf", [node]) if option.get("type") != "null"]
    one = options[0]
    default = node.get("default")
    kind, choices = "text", tuple(map(str, one.get("enum", ())))
    inner: tuple[FormField, ...] = ()
    if choices:
        kind = "choice"
    elif "$ref" in one or "allOf" in one:
        kind = "group"
        inner = _inner(one.get("$ref") or one["allOf"][0]["$ref"], definitions)
    elif one.get("type") == "array" and "$ref" in one.get("items", {}):
        kind, inner = "rows", _inner(one["items"]["$ref"], definitions)
    elif one.get("type") == "array":
        kind, choices = "texts", tuple(map(str, one["items"].get("enum", ())))
    elif one.get("type") == "object":
        kind = "pairs"
    elif one.get("type") == "boolean":
        kind = "switch"
    elif one.get("type") == "integer":
        kind = "number"
    elif one.get("pattern") == _REFERENCE:
        kind = "reference"
    return FormField(
        name,
        kind,
        node.get("description") or "",
        "" if kind in ("group", "rows", "pairs") else _default(default),
        is_required,
        _unit(node, one),
        choices,
        inner,
    )


def _inner(reference: str, definitions: Mapping[str, Any]) -> tuple[FormField, ...]:
    return tuple(_fields(definitions[reference.rsplit("/", 1)[1]], definitions))


def _default(value: Any) -> str:
    if value is None or value == "" or value == []:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _unit(node: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    low, high = one.get("minimum"), one.get("maximum")
    limits = "" if low is None else f"at least {low}" if high is None or high > 10**6 else f"{low} to {high}"
    return ", ".join(filter(None, (node.get("unit", ""), limits)))


class Draft:
    """A tenant's file as it would be written: what it was when it was opened, with other values.

    Parameters
    ----------
    path
        The file.
    before
        Its content when it was opened; ``None`` for a file that does not exist yet.
    text
        What is edited: that content, or an example.

    Raises ``InputError`` if that is not a tenant's mapping.
    """

    def __init__(self, path: Path, before: bytes | None, text: str) -> None:
        self.path, self.before = path, before
        self._start(text)

    @classmethod
    def open(cls, path: Path) -> Draft:
        """Begin with an existing file; raises ``InputError`` if that is not a tenant's mapping."""
        try:
            content = read(path)
            return cls(path, content, content.decode())
        except OSError as error:
            raise InputError([describe(error)], next_step="choose another tenant") from None
        except UnicodeDecodeError:
            raise InputError(
                [f"{path}: is not UTF-8 text"], next_step="save it as UTF-8 with an editor"
            ) from None

    @classmethod
    def new(cls, path: Path, site: str, name: str, example: str) -> Draft:
        """Begin a file with an example of the product's, under the names of a site and a tenant."""
        text = (EXAMPLES / f"{example}.yaml").read_text(encoding="utf-8")
        for old, wanted in ((_EXAMPLE_SITE, site), (example, name)):
            text = re.sub(rf"(?<![a-z]){re.escape(old)}(?![a-z])", wanted, text)
        draft = cls(path, None, text)
        draft._write({**draft._values, **dict.fromkeys(_TO_FILL_IN, "")})
        draft._start(draft.text)
        return draft

    def _start(self, text: str) -> None:
        """Begin with a text."""
        try:
            self._layout = Layout(text)
        except (YAMLError, ValueError) as error:
            where = getattr(getattr(error, "problem_mark", None), "line", None)
            place = self.path if where is None else f"{self.path}:{where + 1}"
            raise InputError(
                [f"{place}: is not readable YAML"], next_step="correct it in an editor"
            ) from None
        values = self._layout.values
        if not isinstance(values, dict) or not isinstance(values.get(KEY), dict):
            raise InputError(
                [f"{self.path}: is not a mapping with the key {KEY}"], next_step="correct it in an editor"
            )
        self._values: dict[str, Any] = copied(values[KEY])
        self.text = text  #: the file as it would be written
        self._secrets = _written_secrets(self._values)

    def _write(self, values: dict[str, Any]) -> None:
        """Take other values, if the file can say them; else raises ``InputError``, and stays as it is."""
        self.text = rewritten(self._layout, {**self._layout.values, KEY: values})
        self._values = values

    @property
    def values(self) -> dict[str, Any]:
        """What the file says, as plain data; in the place of a secret that somebody wrote there, nothing."""
        values: dict[str, Any] = copied(self._values)
        for path in _written_secrets(values):
            _at(values, path[:-1])[path[-1]] = None
        return values

    @property
    def is_changed(self) -> bool:
        """Whether anything differs from the file."""
        return self.before is None or self.text.encode() != self.before

    @property
    def difference(self) -> list[str]:
        """The lines that differ from the file, with their surroundings; a secret in them is not shown."""
        before = [] if self.before is None else self._without_secrets(self._layout)
        after = self._without_secrets(Layout(self.text))
        return list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]

    def _without_secrets(self, layout: Layout) -> list[str]:
        text = layout.masked([(KEY, *path) for path in _written_secrets(layout.values[KEY])], "…")
        known = {*self._secrets.values(), *_written_secrets(self._values).values()}
        for secret in sorted(known, key=len, reverse=True):
            if len(secret) >= _WORTH_HIDING:  # somebody may have noted it in a comment too
                text = text.replace(secret, "…")
        return text.splitlines()

    def set(self, path: Sequence[str | int], value: Any) -> None:
        """Give a parameter another value; an empty one takes it out of the file.

        Raises ``InputError`` if it should be a reference and is none, or if a comment would be beside another
        row: then everything stays as it was.
        """
        known = _field_at(path)
        if known is not None and known.kind == "reference" and value:
            try:
                SecretRef.parse(str(value))
            except ValueError as error:
                raise InputError([str(error)]) from None
        values: dict[str, Any] = copied(self._values)
        if value is None or value == "" or value == {}:
            _remove(values, path)
        else:
            _place_of(values, path)[path[-1]] = value
        self._write(values)

    def add_row(self, path: Sequence[str | int]) -> None:
        """Add an empty mapping to a list of mappings."""
        values: dict[str, Any] = copied(self._values)
        place = _place_of(values, path)
        place[path[-1]] = [*(place.get(path[-1]) or ()), FileRow()]
        self._write(values)

    def remove_row(self, path: Sequence[str | int], index: int) -> None:
        """Take one mapping out of a list, with its comments; the last one takes the list with it."""
        values: dict[str, Any] = copied(self._values)
        rows = _at(values, path)
        if not isinstance(rows, list) or not 0 <= index < len(rows):
            raise InputError([f"{KEY}.{'.'.join(map(str, path))}: there is no such row"])
        del rows[index]
        if not rows:
            _remove(values, path)
        self._write(values)

    def save(self) -> None:
        """Write the file. Raises ``InputError`` if it is not as it was when it was opened."""
        try:
            now: bytes | None = read(self.path)
        except FileNotFoundError:
            now = None
        except OSError as error:
            raise InputError([describe(error)]) from None
        if now != self.before:
            what = "was changed" if now is not None and self.before is not None else "was created or deleted"
            raise InputError(
                [f"{self.path} {what} by somebody else in the meantime; nothing was written"],
                next_step="open it again, and repeat your changes",
            )
        content = self.text.encode()
        try:
            mode = None if now is None else stat.S_IMODE(self.path.lstat().st_mode)
            write_whole(self.path, content, mode=mode)
        except OSError as error:
            raise InputError([describe(error)], next_step="make it writable for this account") from None
        self.before = content
        self._start(self.text)


def _remove(values: dict[str, Any], path: Sequence[str | int]) -> None:
    """Take a parameter out, and the mappings that are empty then; a row stays."""
    place: Any = values
    for part in path[:-1]:
        place = place.get(part) if isinstance(place, dict) else _at(place, (part,))
        if place is None:
            return
    place.pop(path[-1], None)
    if not place and path[:-1] and isinstance(path[-2], str):
        _remove(values, path[:-1])


def _place_of(values: dict[str, Any], path: Sequence[str | int]) -> Any:
    """The mapping that a parameter is in; it is made where there is none."""
    place: Any = values
    for position, part in enumerate(path[:-1]):
        if isinstance(place, dict) and place.get(part) is None:
            if isinstance(path[position + 1], int):
                raise InputError([f"{KEY}.{part}: there is no such row"])
            place[part] = {}
        place = _at(place, (part,))
    return place


def _written_secrets(values: dict[str, Any]) -> dict[tuple[str | int, ...], str]:
    """What stands in the place of a reference and is none."""
    found = {}
    for path in _references(tenant_fields(), values):
        value = str(_at(values, path))
        try:
            SecretRef.parse(value)
        except ValueError:
            if value:
                found[path] = value
    return found


def _at(place: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            raise InputError([f"{KEY}.{'.'.join(map(str, path))}: there is no such place"]) from None
    return place


def _field_at(path: PathInFile | Sequence[str | int]) -> FormField | None:
    fields, found = tenant_fields(), None
    for part in path:
        if isinstance(part, int):
            continue
        found = next((known for known in fields if known.name == part), None)
        if found is None:
            return None
        fields = found.fields
    return found


def _references(
    fields: Sequence[FormField], values: Any, at: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """The places of the references that are in a file."""
    if not isinstance(values, Mapping):
        return
    for known in fields:
        value = values.get(known.name)
        if known.kind == "reference" and value is not None:
            yield (*at, known.name)
        elif known.kind == "group":
            yield from _references(known.fields, value, (*at, known.name))
