"""What is wrong with records: what checking them finds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from ..plain_files import NotPlainError, read
from .chain import CLOSED, Entry, digest_of, digest_of_file

VERIFIED, CONSISTENT, DAMAGED = "verified", "consistent, not anchored", "not verified"
NEWER = "not verified by this runbook: a newer one wrote part of it"


class Damage(Enum):
    """What happened to a file: changed, or altered by git (core.autocrlf, LFS) or a transfer as text.

    Or nothing: a newer runbook wrote it, so this one cannot read it.
    """

    CHANGED = auto()
    LINE_ENDS = auto()
    POINTER = auto()
    NEWER = auto()


CHANGED = "changed"
LINE_ENDS = "line endings are now CRLF, as after a transfer as text or git's core.autocrlf"
POINTER = "replaced by a Git LFS pointer: fetch the file with git lfs pull"
_TOLD = {Damage.CHANGED: CHANGED, Damage.LINE_ENDS: LINE_ENDS, Damage.POINTER: POINTER}
LFS_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\r?\n(?:.*\n)*?oid (sha256:[0-9a-f]{64})\r?\n"
)


@dataclass(frozen=True)
class Problem:
    """Something that has changed: the file, relative to the records folder, and what is wrong.

    ``damage`` is what happened to a file that exists and has another digest.
    """

    path: str
    what: str
    damage: Damage | None = None


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
    that they only planned or verified; ``strays`` whatever else lies between the records: all of
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

    @property
    def after(self) -> tuple[Entry, ...]:
        """The entries behind the anchored one; all of them without one."""
        last = self.anchored.seq if self.anchored else -1
        return tuple(one for one in self.entries if one.seq > last)


def only_newer(problems: Sequence[Problem]) -> bool:
    """Whether the only problem is that a newer runbook wrote something."""
    return all(problem.damage is Damage.NEWER for problem in problems)


def file_problem(path: Path | str, name: str, digest: str) -> Problem | None:
    """What is wrong with a file, of this name in the records folder; ``None`` if it has this digest."""
    try:
        return None if digest_of_file(path) == digest else damage_problem(name, read(path), digest)
    except OSError as error:
        return Problem(name, unread(error))


def damage_problem(name: str, content: bytes, digest: str) -> Problem:
    """What happened to a file whose digest differs."""
    damage = Damage.CHANGED
    if (pointed := LFS_POINTER.match(content)) and pointed[1].decode() == digest:
        damage = Damage.POINTER
    elif b"\r\n" in content and digest_of(content.replace(b"\r\n", b"\n")) == digest:
        damage = Damage.LINE_ENDS
    return Problem(name, _TOLD[damage], damage)


def unread(error: OSError) -> str:
    """Why a file could not be read, as the text of a problem."""
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, NotPlainError):
        return f"{CHANGED}: {error.strerror}"
    return f"cannot be read ({error.strerror})"


def not_plain_problem(records: Path, error: NotPlainError) -> Problem:
    """What was found in place of a file or folder."""
    return Problem(Path(error.filename).relative_to(records).as_posix(), unread(error))
