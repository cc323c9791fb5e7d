"""A batch's own small file among the records: what was asked for, and how far each tenant came.

It is not a record and proves nothing: it lets a batch be resumed. What a tenant still lacks is read at the
vendors, so a tenant whose end is missing here only costs the reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from ..errors import InputError, LockedError
from ..lock import file_lock
from ..outcomes import SUCCEEDED
from ..plain_files import MIB, parse_mapping, read
from ..records.formats import newer
from ..records.result import new_run_id, now, write_json
from ..records.verify import BATCHES, INDEX
from ..secret import scrub_data
from ..version import VERSION

FILE, LOCK = "batch.json", ".batch.lock"
FORMAT = 1


@dataclass
class Part:
    """One tenant of a batch: its file (or ``trunk:NAME``), its plan's file, its runs, its latest outcome."""

    file: str
    plan: str | None = None
    tenant: str = ""
    runs: list[str] = field(default_factory=list)
    outcome: str | None = None
    cause: list[str] = field(default_factory=list)
    changes: int = 0
    writes: int = 0
    seconds: float = 0.0


@dataclass
class Batch:
    """A batch.

    Parameters
    ----------
    folder
        Where it is kept: ``_batches/<id>`` of the records folder.
    target
        ``"sandbox"`` or ``"live"``.
    site, mode, sections, options, approval, environment
        What a resumed batch uses again; paths start at the workspace. ``environment`` has ticket, reason and
        emergency.
    parts
        Its tenants, in their order.
    """

    folder: Path
    target: str
    site: str
    mode: str
    sections: Sequence[str] = field(default_factory=list)
    options: Mapping[str, Any] = field(default_factory=dict)
    approval: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    began: str = field(default_factory=now)
    resumed: list[str] = field(default_factory=list)
    ended: str | None = None
    stopped: str | None = None

    @classmethod
    def new(cls, records: Path, **details: Any) -> Batch:
        """Return a batch with a new id; nothing is written."""
        return cls(records / BATCHES / new_run_id(), **details)

    @classmethod
    def find(cls, records: Path, batch: str) -> Batch:
        """Read the batch of an id; ``InputError`` if there is none, or if a newer runbook wrote it."""
        folder = records / BATCHES / batch
        known = sorted(path.parent.name for path in (records / BATCHES).glob(f"*/{FILE}"))
        if batch not in known:
            latest = f"; the latest is {known[-1]}" if known else ""
            raise InputError([f"--resume: there is no batch {batch} in {records / BATCHES}{latest}"])
        try:
            content = parse_mapping(read(folder / FILE, 64 * MIB))
            if told := newer(content, FORMAT):
                raise InputError([f"{folder / FILE}: {told}"])
            del content["format"], content["runbook"], content["batch"]
            parts = [Part(**part) for part in content.pop("tenants")]
            return cls(folder, parts=parts, **content)
        except (OSError, KeyError, TypeError) as error:
            raise InputError([f"{folder / FILE} cannot be used ({type(error).__name__})"]) from None

    @property
    def id(self) -> str:
        """Its id."""
        return self.folder.name

    @property
    def page(self) -> Path:
        """Where its page is."""
        return self.folder / INDEX

    @property
    def resume_command(self) -> str:
        """The command that runs the remaining tenants."""
        return f"runbook {self.mode} --resume {self.id}"

    @property
    def left(self) -> list[Part]:
        """The tenants that have not succeeded."""
        return [part for part in self.parts if part.outcome != SUCCEEDED]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the batch's lock; ``LockedError`` if somebody else runs it."""
        with ExitStack() as taken:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                taken.enter_context(file_lock(self.folder / LOCK, 0))
            except Timeout:
                raise LockedError(
                    f"batch {self.id} is running",
                    meaning="nothing was sent",
                    next_step="wait until it has ended, then resume it if any tenant has not succeeded",
                ) from None
            try:
                yield
            finally:
                with suppress(OSError):
                    (self.folder / LOCK).unlink()
                    if not (self.folder / FILE).exists():
                        self.folder.rmdir()  # refused before anything began

    def write(self) -> None:
        """Write its file, complete or not at all; raises ``OSError``."""
        content = asdict(self)
        del content["folder"]
        content["tenants"] = content.pop("parts")
        head = {"format": FORMAT, "runbook": VERSION, "batch": self.id}
        write_json(self.folder / FILE, scrub_data(head | content))
