"""What a run left at the vendors, by resource: the writes of its journal combined.

Several writes of a run may change the same resource; what counts is its state before the first and
after the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from ..keys import ResourceKey
from ..meaning import meaning
from ..plan import Row
from .journal import key_of

WriteKind = Literal["made", "changed", "removed"]
Write = Mapping[str, Any]
Locate = Callable[[Write], str | None]

#: Twilio's ids: two letters and 32 hexadecimal digits.
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
#: What the journal shows in place of a secret.
HIDDEN = "(secret)"
#: Fields of the vendors' answers that are not settings, or that follow from other fields.
_NOT_SETTINGS = frozenset(
    ("date_created", "date_updated", "url", "uri", "links", "subresource_uris", "auth_type", "auth_type_set")
)


@dataclass(frozen=True)
class Trace:
    """What a run did to one resource.

    Parameters
    ----------
    vendor, path
        ``"Twilio"`` or ``"PortSIP"``, and where the resource is found in the vendor's API.
    kind
        Whether the run made, changed or removed it.
    section, resource
        The section that touched it first, and its key.
    rows
        The rows of the plan that were carried out on it, from the first ``current`` to the last
        ``desired``.
    before, left
        The resource's fields, under the names that the vendor's answers use: as they were (all that
        were read) and as the run left them (those that it sent, without secrets).
    told
        For a resource that the run created: the settings that the vendor reported besides those that
        were sent, in its answer or when read right afterwards. Empty if it was only changed.
    """

    vendor: str
    path: str
    kind: WriteKind
    section: str
    resource: ResourceKey
    rows: tuple[Row, ...]
    before: Mapping[str, Any] = field(default_factory=dict)
    left: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, Any]:
        """The fields whose values the run changed."""
        return {
            name: value for name, value in self.left.items() if not same(value, self.before.get(name), name)
        }


def footprint(writes: Iterable[Write], locate: Locate) -> list[Trace]:
    """Return what the writes of a journal left, in the order in which each resource was first touched.

    ``locate`` returns the path of a resource created by a write whose answer was lost, or
    ``None`` if there is none. Writes that the vendor refused left nothing.
    """
    traces: dict[str, Trace] = {}
    for write in writes:
        answer = write["answer"] or {"status": None, "result": None}
        if answer["status"] is not None and 400 <= answer["status"] < 500:
            continue
        path, kind = touched_by(write)
        if path is None:
            path = locate(write)
        if path is None:
            continue
        earlier = traces.get(path)
        if earlier is not None and earlier.kind == "made" and kind == "removed":
            del traces[path]
            continue
        trace = _trace(write, path, kind)
        traces[path] = trace if earlier is None else _joined(earlier, trace)
    return list(traces.values())


def same(left: Any, live: Any, field: str = "") -> bool:
    """Whether a live value of a field means what was sent.

    Forms carry text, unset values are null or empty, and vendors may spell a value in their own way.
    """
    if isinstance(left, Mapping):
        return isinstance(live, Mapping) and all(same(left[name], live.get(name), name) for name in left)
    if isinstance(left, list):
        if not isinstance(live, list) or len(left) != len(live):
            return False
        return all(same(one, other) for one, other in zip(left, live, strict=True))
    return meaning(field, as_form(left)) == meaning(field, as_form(live))


def as_form(value: Any) -> str:
    """Return a value as a form carries it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def path_of(write: Write) -> str | None:
    """Return the path of the resource of a write; ``None`` if it created one and no answer said which."""
    return touched_by(write)[0]


def makes(write: Write) -> bool:
    """Whether a write is one that makes a resource."""
    return touched_by(write)[1] == "made"


def touched_by(write: Write) -> tuple[str | None, WriteKind]:
    """Return the path of the resource that a write is about, and what the write does to it."""
    made = next((one["result"] for one in (write["answer"], write["found"]) if one and one["result"]), None)
    path = urlsplit(write["path"]).path
    if write["vendor"] == "Twilio":
        path, suffix = path.removesuffix(".json"), ".json" if path.endswith(".json") else ""
        if write["method"] == "DELETE":
            return path + suffix, "removed"
        if _SID.fullmatch(path.rpartition("/")[2]):
            return path + suffix, "changed"
        return (f"{path}/{made}{suffix}" if made else None), "made"
    path = path.removeprefix("/api")
    if path.endswith("/destroy"):
        return path.removesuffix("/destroy"), "removed"
    if "/assignees/" in path:
        return path, "changed" if write["before"] else "made"
    if path.count("/") > 1:
        return path, "changed"
    return (f"{path}/{made}" if made else None), "made"


def _trace(write: Write, path: str, kind: WriteKind) -> Trace:
    sent = {} if kind == "removed" else (write["body"] or {})
    if write["vendor"] == "Twilio":
        sent = {snake(name): value for name, value in sent.items()}
    # What attaches a list to a trunk has the list's id: that is the path, not a field.
    identity = path.rpartition("/")[2]
    left = {name: value for name, value in sent.items() if value not in (HIDDEN, identity)}
    rows = tuple(map(Row.from_journal, write["rows"]))
    # For an association only its existence counts: its fields are those of the list.
    said = {} if identity in sent.values() or kind != "made" else _said(write)
    told = {
        name: value
        for name, value in said.items()
        if name not in _NOT_SETTINGS and name not in left and value != HIDDEN
    }
    before = write["before"] or {}
    return Trace(write["vendor"], path, kind, write["section"], key_of(write), rows, before, left, told)


def _said(write: Write) -> Mapping[str, Any]:
    """What the vendor reported about what a write created; older journals do not have it."""
    both = (write["answer"] or {}, write["found"] or {})
    return {name: value for one in both for name, value in (one.get("fields") or {}).items()}


def _joined(earlier: Trace, later: Trace) -> Trace:
    rows = {row.key: row for row in earlier.rows}
    for row in later.rows:
        first = rows.get(row.key)
        rows[row.key] = replace(row, current=first.current) if first else row
    kind: WriteKind = earlier.kind if later.kind == "changed" else later.kind
    left = {**earlier.left, **later.left}
    told = {**earlier.told, **later.told}
    told = {name: value for name, value in told.items() if name not in left}
    return replace(earlier, kind=kind, rows=tuple(rows.values()), left=left, told=told)


def snake(name: str) -> str:
    """Return a parameter of Twilio's under the name that its answers have for it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
