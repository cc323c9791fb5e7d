"""What is wrong with records: what checking them finds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..plain_files import NotPlainError, read
from .chain import CLOSED, Entry, digest_of, digest_of_file
from .formats import FORMAT

VERIFIED, CONSISTENT, DAMAGED = "verified", "consistent, not anchored", "not verified"
NEWER = "not verified: a newer runbook wrote part of it"


class Code(StrEnum):
    """What kind of problem it is: the words of the format page, for whoever compares verdicts."""

    MISSING = "missing"
    CHANGED = "changed"
    #: Changed by git (core.autocrlf, LFS) or by a transfer as text.
    LINE_ENDS = "line-ends"
    POINTER = "lfs-pointer"
    EXTRA = "extra"
    NOT_PLAIN = "not-plain"
    UNREADABLE = "unreadable"
    #: No damage: a newer runbook wrote it, so this one cannot read it.
    NEWER = "newer"
    BROKEN = "broken-chain"
    HISTORY = "history"
    NOT_ENDED = "not-ended"
    WITHHELD = "withheld"
    NOT_REMOVED = "not-removed"
    UNKNOWN_HEAD = "unknown-head"
    SIGNATURE = "signature"
    NO_SIGNATURE = "no-signature"
    APPROVAL = "approval"


CHANGED = "changed"
LINE_ENDS = "line endings are now CRLF, as after a transfer as text or git's core.autocrlf"
POINTER = "replaced by a Git LFS pointer: fetch the file with git lfs pull"
_TOLD = {Code.CHANGED: CHANGED, Code.LINE_ENDS: LINE_ENDS, Code.POINTER: POINTER}
LFS_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?:.*\n)*?oid (sha256:[0-9a-f]{64})\r?\n"
)


@dataclass(frozen=True)
class Problem:
    """Something that is wrong: where, relative to the records folder, in words, and of which kind."""

    path: str
    what: str
    code: Code


@dataclass(frozen=True)
class Anchor:
    """A head from outside the folder; ``source`` says from where: the kept head, or a signer."""

    digest: str
    source: str


@dataclass(frozen=True)
class Report:
    """What was found.

    ``anchored`` is the last entry that a kept head or a signature proves, with all before it;
    ``after`` the runs with entries behind it. ``unchained`` are runs outside the chain that never
    claimed to be in it (plans, verifications, plain papermill), among them ``reading``, those that say
    that they only planned or verified; ``strays`` whatever else is between the records: all of
    them are unverified. ``unopened`` are the folders of runs that died before the chain knew them:
    nothing was written, and ``runbook records close`` removes them. ``going_on`` are the runs that are open
    and hold their lock; ``older`` the folders with writes that are not in the chain and never claimed to be:
    from before every door wrote to the register; ``unreviewed`` the runs of an emergency that nobody has
    reviewed. ``removed`` are the records that were removed by rule, ``skipped`` those that were not looked
    at, as they had closed at the head from which it started.
    """

    problems: tuple[Problem, ...]
    entries: tuple[Entry, ...]
    anchored: Entry | None
    anchors: tuple[Anchor, ...]
    unchained: tuple[str, ...]
    strays: tuple[str, ...]
    reading: tuple[str, ...] = ()
    unopened: tuple[str, ...] = ()
    going_on: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    unreviewed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """``VERIFIED``, ``CONSISTENT`` or, with problems, ``DAMAGED`` or ``NEWER``."""
        if self.problems:
            return NEWER if only_newer(self.problems) else DAMAGED
        return VERIFIED if self.anchored else CONSISTENT

    @property
    def records(self) -> tuple[str, ...]:
        """The closed records, in order."""
        return tuple(str(one.run) for one in self.entries if one.event == CLOSED)

    def to_data(self, notes: Sequence[str] = ()) -> dict[str, Any]:
        """Return the report as plain data, under the names of the format page."""
        found = {(problem.path, problem.code): problem.what for problem in reversed(self.problems)}
        return {
            "format": FORMAT,
            "status": self.status,
            "problems": [
                {"path": path, "code": str(code), "what": what}
                for (path, code), what in sorted(found.items())
            ],
            "head": self.entries[-1].digest if self.entries else None,
            "entries": len(self.entries),
            "closed": len(self.records),
            "verified_up_to": self.anchored.seq if self.anchored else None,
            "entries_after": len(self.after) if self.anchored else None,
            "going_on": list(self.going_on),
            "removed": list(self.removed),
            "never_opened": list(self.unopened),
            "outside": list(self.unchained),
            "copy": None,  # only the verifier that travels reads copies
            "notes": list(notes),
            "older": list(self.older),
            "strays": list(self.strays),
            "not_looked_at": list(self.skipped),
            "unreviewed": list(self.unreviewed),
        }

    @property
    def after(self) -> tuple[Entry, ...]:
        """The entries behind the anchored one; all of them without one."""
        last = self.anchored.seq if self.anchored else -1
        return tuple(one for one in self.entries if one.seq > last)


def only_newer(problems: Sequence[Problem]) -> bool:
    """Whether the only problem is that a newer runbook wrote something."""
    return all(problem.code is Code.NEWER for problem in problems)


def file_problem(path: Path | str, name: str, digest: str) -> Problem | None:
    """What is wrong with a file, of this name in the records folder; ``None`` if it has this digest."""
    try:
        return None if digest_of_file(path) == digest else damage_problem(name, read(path), digest)
    except OSError as error:
        return unread_problem(name, error)


def damage_problem(name: str, content: bytes, digest: str) -> Problem:
    """What happened to a file whose digest differs."""
    code = Code.CHANGED
    if (pointed := LFS_POINTER.match(content)) and pointed[1].decode() == digest:
        code = Code.POINTER
    elif b"\r\n" in content and digest_of(content.replace(b"\r\n", b"\n")) == digest:
        code = Code.LINE_ENDS
    return Problem(name, _TOLD[code], code)


def unread_problem(name: str, error: OSError) -> Problem:
    """Why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return Problem(name, "missing", Code.MISSING)
    if isinstance(error, NotPlainError):
        return Problem(name, f"{CHANGED}: {error.strerror}", Code.NOT_PLAIN)
    return Problem(name, f"cannot be read ({error.strerror})", Code.UNREADABLE)


def not_plain_problem(records: Path, error: NotPlainError) -> Problem:
    """What is in the place of a file or folder."""
    return unread_problem(Path(error.filename).relative_to(records).as_posix(), error)
