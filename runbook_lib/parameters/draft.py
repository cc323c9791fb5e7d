"""A tenant's parameter file while somebody edits it: its fields, and what would be written.

The fields come from the schema. The file keeps its comments, order and quotes; only what was edited differs.
No secret's value can be entered: such a field accepts references only.
"""

from __future__ import annotations

import builtins
import difflib
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, ScalarString
from ruamel.yaml.tokens import CommentToken

from .. import product
from ..errors import InputError
from ..plain_files import describe, read, write_whole
from ..secret import SecretRef
from .document import PathInFile
from .schema import json_schema

KEY = "tenant"
EXAMPLES = product.PARAMETERS / "example"
#: Names in the examples that stand for the site and the tenant.
_EXAMPLE_SITE = "bigtel"
#: What an example cannot know; an empty one is a problem until somebody fills it in.
_TO_FILL_IN = ("pbx_domain", "dids")
_REFERENCE = "^(env|file|keyring):.+$"
#: A text that needs no quotes in any version of YAML.
_WORD = re.compile(r"[A-Za-z][\w-]*(?:[./:@][\w-]+)*(?: [\w-]+)*", re.ASCII)
#: Spaces that mean nothing: within brackets, around commas.
_GAPS = re.compile(r" *([{}\[\],]) *")
_OTHER_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})


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


@dataclass
class Draft:
    """A tenant's file as it would be written.

    Parameters
    ----------
    path
        The file.
    before
        Its content when it was opened; ``None`` for a file that does not exist yet.
    """

    path: Path
    before: bytes | None
    _content: Any = field(repr=False, default=None)
    _yaml: YAML = field(repr=False, default_factory=YAML)
    #: Secrets that were in the file when it was opened: the difference shows its lines too.
    _hidden: builtins.set[str] = field(repr=False, default_factory=set)

    @classmethod
    def open(cls, path: Path) -> Draft:
        """Begin with an existing file; raises ``InputError`` if that is no mapping of a tenant."""
        try:
            content = read(path)
        except OSError as error:
            raise InputError([describe(error)], next_step="choose another tenant") from None
        draft = cls(path, content)._parsed(content.decode("utf-8", "replace").replace("\r\n", "\n"))
        if draft.is_changed:
            # A byte order mark, other indents, mixed line ends: an edit would change other lines too.
            raise InputError(
                [f"{path}: is laid out in a way that the form cannot keep"], next_step="edit it by hand"
            )
        return draft

    @classmethod
    def new(cls, path: Path, site: str, name: str, example: str) -> Draft:
        """Begin a file with an example of the product's, under the names of a site and a tenant."""
        text = (EXAMPLES / f"{example}.yaml").read_text(encoding="utf-8")
        for old, wanted in ((_EXAMPLE_SITE, site), (example, name)):
            text = re.sub(rf"(?<![a-z]){re.escape(old)}(?![a-z])", wanted, text)
        draft = cls(path, None)._parsed(text)
        for key in _TO_FILL_IN:
            draft._content[KEY][key] = DoubleQuotedScalarString("")
        return draft

    def _parsed(self, text: str) -> Draft:
        self._yaml = _yaml_like(text)
        try:
            self._content = self._yaml.load(text)
        except (YAMLError, ValueError) as error:
            where = getattr(getattr(error, "problem_mark", None), "line", None)
            place = self.path if where is None else f"{self.path}:{where + 1}"
            raise InputError(
                [f"{place}: is not readable YAML"], next_step="correct it in an editor"
            ) from None
        if not isinstance(self._content, CommentedMap) or not isinstance(
            self._content.get(KEY), CommentedMap
        ):
            raise InputError([f"{self.path}: is no mapping with the key {KEY}"])
        self._hidden = self._written_secrets()
        return self

    @property
    def text(self) -> str:
        """The file as it would be written."""
        out = StringIO()
        self._yaml.dump(self._content, out)
        text = _spaced_like(self._before_text, out.getvalue())
        return text.replace("\n", "\r\n") if self.before and b"\r\n" in self.before else text

    @property
    def _before_text(self) -> str:
        return "" if self.before is None else self.before.decode("utf-8", "replace")

    @property
    def values(self) -> dict[str, Any]:
        """What the file says, as plain data; in the place of a secret that somebody wrote there, nothing."""
        plain: dict[str, Any] = _plain(self._content[KEY])
        for path in self._secrets():
            _at(plain, path[:-1])[path[-1]] = None
        return plain

    @property
    def is_changed(self) -> bool:
        """Whether anything differs from the file."""
        return self.before is None or self.text.encode() != self.before

    @property
    def difference(self) -> list[str]:
        """The lines that differ from the file, with their surroundings."""
        before, after = self._before_text.splitlines(), self.text.splitlines()
        lines = list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]
        for secret in sorted(self._hidden | self._written_secrets(), key=len, reverse=True):
            lines = [line.replace(secret, "…") for line in lines]
        return lines

    def set(self, path: Sequence[str | int], value: Any) -> None:
        """Give a parameter another value; an empty one takes it out of the file.

        Raises ``InputError`` if it should be a reference and is none: that is never kept.
        """
        known = _field_at(path)
        if known is not None and known.kind == "reference" and value:
            try:
                SecretRef.parse(str(value))
            except ValueError as error:
                raise InputError([str(error)]) from None
        place = self._content[KEY]
        for position, part in enumerate(path[:-1]):
            if isinstance(place, CommentedMap) and place.get(part) is None:
                if isinstance(path[position + 1], int):
                    raise InputError([f"{KEY}.{part}: there is no such row"])
                place[part] = CommentedMap()
            place = place[part]
        if value is None or value == "" or (value == {} and path):
            self._remove(path)
        elif isinstance(value, list):
            place[path[-1]] = _list_like(place.get(path[-1]), value)
        elif isinstance(value, dict):
            place[path[-1]] = _mapping_like(place.get(path[-1]), value)
        else:
            place[path[-1]] = _scalar_like(place.get(path[-1]), value)

    def add_row(self, path: Sequence[str | int]) -> None:
        """Add an empty mapping to a list of mappings."""
        place = self._content[KEY]
        for part in path[:-1]:
            if place.get(part) is None:
                place[part] = CommentedMap()
            place = place[part]
        rows = place.setdefault(path[-1], CommentedSeq())
        made = CommentedMap()
        if rows and isinstance(rows[0], CommentedMap) and rows[0].fa.flow_style():
            made.fa.set_flow_style()
        rows.append(made)

    def remove_row(self, path: Sequence[str | int], index: int) -> None:
        """Take one mapping out of a list of mappings; the last one takes the list with it."""
        rows = _at(self._content[KEY], path)
        del rows[index]
        if not rows:
            self._remove(path)

    def save(self) -> None:
        """Write the file. Raises ``InputError`` if it is not as it was when it was opened."""
        try:
            now: bytes | None = read(self.path)
        except FileNotFoundError:
            now = None
        except OSError as error:
            raise InputError([describe(error)]) from None
        if now != self.before:
            what = "was changed" if now is not None and self.before is not None else "was made or removed"
            raise InputError(
                [f"{self.path} {what} by somebody else meanwhile; nothing was written"],
                next_step="open it again, and repeat what you changed",
            )
        content = self.text.encode()
        try:
            mode = None if now is None else stat.S_IMODE(self.path.lstat().st_mode)
            write_whole(self.path, content, mode=mode)
        except OSError as error:
            raise InputError([describe(error)], next_step="make it writable for this account") from None
        self.before = content

    def _remove(self, path: Sequence[str | int]) -> None:
        """Take a parameter out, and the mappings that are empty then; comments below it stay."""
        place = _at(self._content[KEY], path[:-1])
        if path[-1] not in place:
            return
        comment = _comment_below(place, path[-1])
        keys = list(place)
        before = keys.index(path[-1]) - 1
        del place[path[-1]]
        if comment:
            _append_comment(self._content[KEY] if before < 0 else place, keys[max(before, 0)], comment)
        if not place and path[:-1] and isinstance(path[-2], str):
            self._remove(path[:-1])

    def _written_secrets(self) -> builtins.set[str]:
        return {str(_at(self._content[KEY], path)) for path in self._secrets()} - {"", "None"}

    def _secrets(self) -> Iterator[tuple[str | int, ...]]:
        """The places of values that should be references and are none."""
        for path in _references(tenant_fields(), _plain(self._content[KEY])):
            try:
                SecretRef.parse(str(_at(self._content[KEY], path)))
            except ValueError:
                yield path


def _yaml_like(text: str) -> YAML:
    """A writer that indents as a file does."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    item = re.search(r"^( *)[^\s#-][^\n]*:[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*( *)-( +)", text, re.MULTILINE)
    offset, gap = (len(item[2]) - len(item[1]), 1 + len(item[3])) if item else (2, 2)
    yaml.indent(mapping=2, sequence=max(offset, 0) + gap, offset=max(offset, 0))
    return yaml


def _spaced_like(before: str, text: str) -> str:
    """The same text, where lines that differ in spaces within brackets alone are as they were."""
    were = {_GAPS.sub(r"\1", line): line for line in before.splitlines()}
    restored = "".join(
        were.get(_GAPS.sub(r"\1", line.rstrip("\n")), line.rstrip("\n")) + "\n"
        for line in text.splitlines(keepends=True)
    )
    # Spaces within quotes are part of a value, which somebody may have edited.
    reader = YAML(typ="safe", pure=True)
    return restored if reader.load(restored) == reader.load(text) else text


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else str(value)


def _scalar_like(old: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if isinstance(old, ScalarString) and "\n" not in value and "\\" not in value:
        return type(old)(value)
    if _WORD.fullmatch(value) and value.casefold() not in _OTHER_WORDS:
        return value
    return DoubleQuotedScalarString(value)


def _list_like(old: Any, value: Sequence[Any]) -> Any:
    """The same list with other items, whose comments stay; a new one in one line."""
    if not isinstance(old, CommentedSeq):
        made = CommentedSeq(_scalar_like(None, item) for item in value)
        made.fa.set_flow_style()
        return made
    if old.ca.items and len(value) != len(old) and list(value[: len(old)]) != list(old):
        raise InputError(["comments in this list would move or be lost: edit the file by hand"])
    like = old[0] if old else None
    for index, item in enumerate(value):
        if index >= len(old):
            old.append(_scalar_like(like, item))
        elif old[index] != item:
            old[index] = _scalar_like(old[index], item)
    del old[len(value) :]
    return old


def _mapping_like(old: Any, value: Mapping[str, Any]) -> Any:
    made = old if isinstance(old, CommentedMap) else CommentedMap()
    for key in [key for key in made if str(key) not in value]:
        del made[key]
    known = {str(key): key for key in made}
    for name, item in value.items():
        key = known.get(name, DoubleQuotedScalarString(name))
        if made.get(key) != item:
            made[key] = _scalar_like(made.get(key), item)
    return made


def _comment_below(place: CommentedMap, key: Any) -> str:
    """The lines of comment below the last line of a value, which ruamel keeps with that value."""
    value = place[key]
    if isinstance(value, CommentedMap) and value:
        return _comment_below(value, list(value)[-1])
    if isinstance(value, CommentedSeq) and value and not value.fa.flow_style():
        return ""
    tokens = place.ca.items.get(key) or []
    token = tokens[2] if len(tokens) > 2 else None
    return token.value.partition("\n")[2] if token is not None else ""


def _append_comment(place: CommentedMap, key: Any, comment: str) -> None:
    """Put lines of comment below a value."""
    if key not in place:
        return
    value = place[key]
    if isinstance(value, CommentedMap) and value and not value.fa.flow_style():
        _append_comment(value, list(value)[-1], comment)
        return
    tokens = place.ca.items.setdefault(key, [None, None, None, None])
    if tokens[2] is None:
        tokens[2] = CommentToken("\n" + comment, CommentMark(0), None)
    else:
        tokens[2].value = tokens[2].value.rstrip("\n") + "\n" + comment


def _at(place: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        place = place[part]
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
