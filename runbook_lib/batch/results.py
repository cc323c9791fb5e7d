"""What a batch reports: the result of each section, of each tenant, and of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED, ExitStatus

NOT_RUN = "not run"


@dataclass(frozen=True)
class SectionResult:
    """The result of one section.

    ``outcome`` is ``"succeeded"``, ``"failed"``, ``"interrupted"`` or ``"not run"``; ``changes`` the
    rows that were carried out (in ``plan`` mode: that would be); ``notebook`` the executed notebook,
    if it ran.
    """

    section: str
    outcome: str
    seconds: float = 0.0
    writes: int = 0
    changes: int = 0
    notebook: Path | None = None
    message: str = ""
    #: What an operator should check although it stopped nothing: the reason, and the setting.
    to_look_at: tuple[tuple[str, str], ...] = ()
    #: Of a failure: ``errors.cause_of``.
    cause: tuple[str, ...] = ()
    #: The most requests at once that Twilio reported for the account.
    twilio_at_once: int = 0


@dataclass(frozen=True)
class TenantResult:
    """The result of one tenant: its run's folder, and its sections in the order in which they ran.

    ``problem`` says why no section was run, or why the record is withheld or could not be written; in
    these cases the tenant failed.
    """

    site: str
    tenant: str
    folder: Path
    sections: tuple[SectionResult, ...]
    problem: str = ""
    #: Why its record could not be written, as ``errors.cause_of``.
    record_cause: tuple[str, ...] = ()

    @property
    def cause(self) -> tuple[str, ...]:
        """Why it failed, as a key; empty if that is not known, or if it did not fail."""
        causes = (section.cause for section in self.sections if section.outcome == FAILED)
        return next(filter(None, causes), self.record_cause)

    @property
    def outcome(self) -> str:
        """``"succeeded"``, ``"failed"`` or ``"interrupted"``."""
        outcomes = {section.outcome for section in self.sections}
        if INTERRUPTED in outcomes:
            return INTERRUPTED
        return FAILED if self.problem or outcomes != {SUCCEEDED} else SUCCEEDED

    @property
    def seconds(self) -> float:
        """How long its sections took together."""
        return sum(section.seconds for section in self.sections)

    @property
    def changes(self) -> int:
        """How many rows of the plan were carried out, or would be."""
        return sum(section.changes for section in self.sections)

    @property
    def writes(self) -> int:
        """How many writes were sent to the vendors."""
        return sum(section.writes for section in self.sections)


class Stop(StrEnum):
    """Why a batch starts no more tenants."""

    TOO_MANY = "as many tenants failed as --max-failures allows"
    SAME_CAUSE = "several tenants in a row failed for the same cause"


@dataclass(frozen=True)
class RunResult:
    """The result of a batch, and the page over its records.

    ``not_begun`` names the tenants that were skipped: after an interruption, or when the batch was stopped
    (``stopped``). ``batch`` is its id, if it has one, and ``page`` its page. ``remarks`` say what failed
    apart from the work itself (a page, the index, an observer); outcomes do not depend on it.
    """

    mode: str
    tenants: tuple[TenantResult, ...]
    index: Path
    not_begun: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    stopped: Stop | None = None
    batch: str = ""
    page: Path | None = None

    @property
    def exit_status(self) -> int:
        """The status of a command that ran it."""
        done = all(tenant.outcome == SUCCEEDED for tenant in self.tenants) and not self.not_begun
        return ExitStatus.FINE if done else ExitStatus.FAILED
