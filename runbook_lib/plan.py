"""Plans: rows, slices, digests, and the comparison of a live plan with an approved one.

Values only: nothing here reads a file or sends a request.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import field as field_
from enum import StrEnum
from typing import Any, Self

from .keys import Why
from .meaning import meaning

Value = str | int | bool | None

#: The format of a plan's document. The digest covers the same as in format 1: a plan keeps its digest.
FORMAT = 2
FORMATS = (1, FORMAT)
DIGEST_FORMAT = 1


def canonical(data: Any) -> str:
    """Return plain data as canonical JSON: equal for equal data of equal types only."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Action(StrEnum):
    """What a row asks for, or why it asks for nothing."""

    IN_PLACE = "in place"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    REMOVE = "remove"
    UNREADABLE = "unreadable"
    BLOCKED = "blocked"
    CONFLICT = "conflict"
    NOT_MANAGED = "not managed"


#: Rows with these actions are carried out by ``apply`` and covered by the digest.
CHANGING = frozenset({Action.CREATE, Action.UPDATE, Action.REPLACE, Action.REMOVE})
#: A row with one of these stops ``apply`` before the section's first write.
STOPPING = frozenset({Action.BLOCKED, Action.CONFLICT})
#: Rows with these have reached their desired values: nothing is left to do for them.
SETTLED = frozenset({Action.IN_PLACE, Action.UNREADABLE})


#: Why a row that asks for nothing is to be looked at all the same: over it stands no tick.
TO_LOOK_AT = frozenset({Why.RINGS_NOWHERE, Why.NO_EMERGENCY_ADDRESS})


#: Keys of settings that journals and other rows are searched for, by ``Row.field``.
PASSWORD_AT_TWILIO, PASSWORD_AT_PBX = "password_at_twilio", "password_at_pbx"
#: Their names in journals and plan files without keys: never edited.
_OLD_SETTINGS = {"password at Twilio": PASSWORD_AT_TWILIO, "password at the PBX": PASSWORD_AT_PBX}


class Effect(StrEnum):
    """The effect of carrying out a row on calls."""

    NONE = "none"
    INTERRUPTS_OUTBOUND = "interrupts outbound"
    INTERRUPTS_INBOUND = "interrupts inbound"
    INTERRUPTS_BOTH = "interrupts both ways"


@dataclass(frozen=True)
class Left:
    """What the newest run of the records left of a setting, and when it wrote that (UTC)."""

    run: str
    value: Value
    at: str


@dataclass(frozen=True)
class Row:
    """One setting of the guide: its desired value, its current value, and the resulting action.

    Parameters
    ----------
    step
        Step id of the guide, for example ``"3.1"``.
    setting
        What is set, under the name that people use; never a vendor's id. Unique within its step. An
        approver saw it, so plan files and digests cover it.
    desired, current
        Plain values; ``None`` means absent. Secrets are shown by their reference.
    action, effect
        See the enumerations.
    note
        Why, in one sentence; not covered by the digest, and not read from a plan's file.
    field
        Key of the setting, if it is identified by more than its name within one plan: rows of a journal
        and of a plan are then the same setting, whatever its name. Not covered by the digest.
    why
        Why the row stops or is left alone, for the program; the note says it to people.
    outside
        What the records say was left, where something else is there now: it was changed outside. Neither
        covered by the digest nor read from a plan's file.
    """

    step: str
    setting: str
    desired: Value
    current: Value
    action: Action
    effect: Effect = Effect.NONE
    note: str = ""
    field: str = ""
    why: Why | None = None
    outside: Left | None = field_(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the row within its section: its step, and the key of its setting or its name."""
        return (self.step, self.field or meaning("name", self.setting))

    def covered(self) -> dict[str, Value]:
        """Return what the digest covers of this row."""
        return {
            "step": self.step,
            "setting": self.setting,
            "desired": self.desired,
            "current": self.current,
            "action": str(self.action),
            "effect": str(self.effect),
        }

    def to_journal(self) -> dict[str, Value]:
        """Return what a journal keeps of this row: as covered, and the key of its setting."""
        return self.covered() | ({"field": self.field} if self.field else {})

    @classmethod
    def from_journal(cls, data: Mapping[str, Any]) -> Self:
        """Build the row that a journal kept; for an older journal, with the key that its setting has now."""
        covered = {name: data[name] for name in ("step", "setting", "desired", "current")}
        action, effect = Action(data["action"]), Effect(data["effect"])
        return cls(**covered, action=action, effect=effect, field=field_of(data))


def field_of(data: Mapping[str, Any]) -> str:
    """Return the key of a row's setting, from the row as plain data; empty if it has only a name."""
    return data.get("field") or _OLD_SETTINGS.get(data["setting"], "")


@dataclass(frozen=True)
class Slice:
    """One section's part of a plan."""

    section: str
    rows: tuple[Row, ...]

    @property
    def changing(self) -> tuple[Row, ...]:
        """The rows that ``apply`` carries out, in order."""
        return tuple(row for row in self.rows if row.action in CHANGING)

    @property
    def stopping(self) -> tuple[Row, ...]:
        """The rows that stop ``apply``: conflicts and blocked ones."""
        return tuple(row for row in self.rows if row.action in STOPPING)


@dataclass(frozen=True)
class Plan:
    """The changes that turn a tenant's current state into the desired one, one slice per section.

    ``target`` says what the plan is for (sandbox or live, Twilio account, PBX); ``secrets`` the
    references to the secrets that it would write, by setting.

    ``id`` identifies exactly this plan, ``created`` says when it was made, ``author`` by whom (identities)
    and ``register`` where: the digest of the first entry of the records folder's chain, ``None`` if
    there was none yet; ``runbook`` is the version that made it. The digest covers none of the five; the id
    is part of what an approver signs.
    """

    target: dict[str, str]
    tenant: str
    secrets: dict[str, str]
    slices: tuple[Slice, ...]
    created: str = field(default="", compare=False)
    id: str = field(default="", compare=False)
    author: tuple[dict[str, str], ...] = field(default=(), compare=False)
    register: str | None = field(default=None, compare=False)
    runbook: str = field(default="", compare=False)

    @property
    def digest(self) -> str:
        """``sha256:…`` over target, tenant, secret references and changing rows, in canonical JSON."""
        covered = {
            "format": DIGEST_FORMAT,
            "target": self.target,
            "tenant": self.tenant,
            "secrets": self.secrets,
            "slices": [
                {"section": part.section, "rows": [row.covered() for row in part.changing]}
                for part in self.slices
            ],
        }
        return "sha256:" + hashlib.sha256(canonical(covered).encode()).hexdigest()

    def slice(self, section: str) -> Slice | None:
        """Return the slice of a section, or ``None`` when the plan does not have it."""
        return next((part for part in self.slices if part.section == section), None)

    def to_document(self) -> dict[str, Any]:
        """Return the plan as plain data, ready for JSON."""
        return {"format": FORMAT, "digest": self.digest, **asdict(self)}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Plan:
        """Build a plan from plain data, without the rows' notes, which are not compared.

        Raises ``ValueError`` (naming what is wrong) when the document is not a plan or when its
        digest is not the digest of its content.
        """
        try:
            if document["format"] not in FORMATS:
                by = f" by runbook {document['runbook']}" if document.get("runbook") else ""
                raise ValueError(
                    f"the plan was written{by} in format {document['format']!r}; this runbook reads formats"
                    f" {FORMATS[0]} to {FORMAT}: upgrade it, or make a new plan with it"
                )
            plan = cls(
                target=_texts(document["target"]),
                tenant=_text(document["tenant"]),
                secrets=_texts(document["secrets"]),
                slices=tuple(
                    Slice(_text(part["section"]), tuple(_row(row) for row in part["rows"]))
                    for part in document["slices"]
                ),
                created=_text(document.get("created", "")),
                id=_text(document.get("id", "")),
                author=tuple(_texts(one) for one in document.get("author", ())),
                runbook=_text(document.get("runbook", "")),
                register=None if document.get("register") is None else _text(document["register"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not a plan document ({type(error).__name__}: {error})") from None
        sections = [part.section for part in plan.slices]
        keys = [(part.section, *row.key) for part in plan.slices for row in part.changing]
        if len({*sections}) < len(sections) or len({*keys}) < len(keys):
            # If two rows had one name, apply would compare only one of them.
            raise ValueError("this is not a plan document: it has a section or a row twice")
        if any(
            canonical(row.desired) == canonical(row.current) for part in plan.slices for row in part.changing
        ):
            # It would be shown as a change, but apply would consider it done.
            raise ValueError("this is not a plan document: a row to carry out changes nothing")
        if plan.digest != document.get("digest"):
            raise ValueError(
                "the plan's digest does not match its content: it was edited after it was written"
            )
        return plan


def joined_notes(*notes: str) -> str:
    """Return notes as one, without those that say nothing."""
    return "; ".join(filter(None, notes))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and equal (1 is not true), names as people read them."""
    return meaning("name", canonical(one)) == meaning("name", canonical(other))


def _row(data: dict[str, Any]) -> Row:
    for value in (data["desired"], data["current"]):
        if not isinstance(value, str | int | None):  # bool is an int
            raise TypeError(f"{type(value).__name__} as a value")
    return Row(
        step=_text(data["step"]),
        setting=_text(data["setting"]),
        desired=data["desired"],
        current=data["current"],
        action=Action(data["action"]),
        effect=Effect(data["effect"]),
        field=_text(field_of(data)),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of text")
    return value


def _texts(value: dict[str, Any]) -> dict[str, str]:
    return {_text(key): _text(text) for key, text in value.items()}


@dataclass(frozen=True)
class Deviation:
    """A difference between the approved and the live state: the row on either side, if it has one."""

    approved: Row | None
    live: Row | None
    reason: str

    @property
    def row(self) -> Row:
        """The deviating row in its present form, if it exists."""
        found = self.live or self.approved
        assert found is not None
        return found

    def __str__(self) -> str:
        return f"{self.row.setting}: {self.reason} ({describe_deviation(self.approved, self.live)})"


def describe_deviation(approved: Row | None, live: Row | None) -> str:
    """Describe the approved and the live row by their values: ``current → desired`` on either side."""
    return f"approved: {_moving(approved)}; live: {_moving(live)}"


def value_text(value: Value) -> str:
    """Return a value as people read it in a sentence."""
    if value is None:
        return "absent"
    if value is True or value is False:
        return "on" if value else "off"
    return str(value) if value != "" else "empty"


def _moving(row: Row | None) -> str:
    if row is None:
        return "no such row"
    way = (
        value_text(row.current)
        if row.current == row.desired
        else f"{value_text(row.current)} → {value_text(row.desired)}"
    )
    return way if row.effect is Effect.NONE else f"{way}, {row.effect}"


def deviations(approved: Slice, live: Iterable[Row]) -> list[Deviation]:
    """Compare an approved slice with live rows.

    Every live changing row must equal an approved one; every approved row must still be live as
    approved or already have its approved value (``done``). Returns what does not, in order.
    """
    rows = {row.key: row for row in live}
    wanted = {row.key: row for row in approved.changing}
    every = {row.key: row for row in approved.rows}
    found = [
        Deviation(every.get(key), row, "not in the approved plan")
        for key, row in rows.items()
        if row.action in CHANGING and key not in wanted
    ]
    for key, approved_row in wanted.items():
        row = rows.get(key)
        if row is None:
            if approved_row.action is not Action.REMOVE:
                found.append(Deviation(approved_row, None, "approved, but no longer needed"))
        elif row.action in CHANGING:
            if not _same(row.covered(), approved_row.covered()):
                found.append(Deviation(approved_row, row, "differs from the approved row"))
        elif row.action is Action.NOT_MANAGED:
            found.append(Deviation(approved_row, row, "approved, but the runbook may not change it"))
        elif row.action in SETTLED and not _same(row.desired, approved_row.desired):
            found.append(Deviation(approved_row, row, "has a different value from the approved one"))
    return found
