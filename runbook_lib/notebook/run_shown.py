"""What a page shows of a run that works on its tenant, whoever started it, while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..guide import RUN_ORDER, SECTIONS, TRUNK_ORDER, WHOLE
from ..outcomes import INTERRUPTED, RUNNING, SUCCEEDED, UNKNOWN
from ..records.living import Phase
from ..words import counted
from .child import Child
from .display import SANS, Box, Shown, describe_wait, escaped, utc, visible
from .failures import boxed
from .runs import RecordedRun, Status
from .served import Served
from .tables import Stack, Table

TONE = {RUNNING: "info", SUCCEEDED: "good", INTERRUPTED: "caution"}
#: What a run does, in order, as the form says it.
PHASES: dict[str, str] = {
    Phase.STARTING: "start",
    Phase.SIGNING_IN: "sign in",
    Phase.READING: "read",
    Phase.WRITING: "write",
    Phase.READING_BACK: "read back",
    Phase.ENDING: "keep the record",
}


@dataclass(frozen=True)
class RunShown:
    """A run as a page shows it.

    Parameters
    ----------
    followed, status
        The run, and what was seen of it last.
    owner
        What every heading names: target and ``site/tenant``.
    served
        Where the open notebook's server shows files, for the links to the record.
    ended_at
        When its end was seen; empty while it runs.
    """

    followed: Child | RecordedRun
    status: Status
    owner: str
    served: Served
    ended_at: str = ""

    @property
    def _run(self) -> RecordedRun | None:
        """Its record, once there is one."""
        return self.followed.run if isinstance(self.followed, Child) else self.followed

    @property
    def _is_running(self) -> bool:
        return self.status.state == RUNNING

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled from here."""
        return isinstance(self.followed, Child) and self.followed.cancelled

    def view(self, *, with_end: bool) -> dict[str, Any]:
        """Return what the panel shows of it; its end only ``with_end``, where nothing else shows that."""
        status, run, box = self.status, self._run, self._box()
        lines, spoken = [], box.title
        if self._is_running:
            current = next((write for write in reversed(status.writes) if write["answer"] is None), None)
            lines = [f"Now: {current['resource']}"] if current else []
            lines += [f"Now: {describe_wait(wait)}." for wait in status.waits]
            spoken = f"{box.title} {doing(status)}."
        cancellable = isinstance(self.followed, Child) or (run is not None and run.can_be_cancelled)
        return {
            "title": visible(box.title),
            "tone": box.tone,
            "running": self._is_running,
            "shown": self._is_running or with_end,
            "since": _epoch(run.started) if run and self._is_running else None,
            "phases": _phases(status) if self._is_running else [],
            "lines": [visible(line) for line in (*lines, *box.lines)],
            "can_cancel": self._is_running and cancellable,
            "cancelling": self.is_cancelled,
            "spoken": visible(spoken),
        }

    def stack(self, *, whole: bool = True) -> Stack:
        """Return what is known of it, with its time.

        ``whole`` also while it runs: below the panel, which says that, there is only its journal.
        """
        status, ended, box = self.status, not self._is_running, self._box()
        if not ended:
            box = replace(box, title=f"{box.title} Now: {doing(status)}.")
        parts: list[Shown] = [box] if ended or whole else []
        if status.writes:
            parts.append(_journal(status.writes, ended))
        if status.error is not None and ended and status.state != INTERRUPTED:
            parts.append(boxed(status.error).headed("", self.ended_at))
        if ended and status.folder is not None:
            parts.append(Links(tuple(_files(status.folder, self._sections)), self.served))
        return Stack(tuple(parts)).headed(self.owner, "" if ended else f"as of {utc()}")

    @property
    def _sections(self) -> list[str]:
        if self._run is not None and self._run.sections:
            return self._run.sections
        return [self.followed.order.section] if isinstance(self.followed, Child) else []

    @property
    def _place(self) -> str:
        """Where a run of several sections is, in words; empty for a run of one."""
        section, sections = self.status.phase.get("section"), self._sections
        if len(sections) < 2 or section not in sections:
            return ""
        number = sections.index(section) + 1
        return f"Section {section}, {SECTIONS[section].title}: {number} of {len(sections)} sections."

    def _box(self) -> Box:
        """What it is, and its progress or its outcome."""
        followed, run, status = self.followed, self._run, self.status
        what = _named(self._sections)
        whose = [f"run {run.folder.name}, by {run.operator}, since {_as_shown(run.started)}"] if run else []
        if self._is_running:
            title = f"{what} is being applied."
            whose += [self._place] if self._place else []
            if self.is_cancelled:
                whose.append("Cancelling: the run finishes the write in flight and closes its record.")
            if isinstance(followed, RecordedRun):
                if not followed.can_be_cancelled:
                    whose.append("It cannot be cancelled from here.")
                elif len(followed.sections) != 1:
                    whose.append(
                        "Cancel ends the command that runs it, including the tenants that it has not started."
                    )
            return Box("info", title, (*whose, *filter(None, [status.told])))
        lines = whose or ["It ended before its record was opened: nothing was written."]
        lines += status.told.splitlines()
        if status.state == UNKNOWN and status.folder:
            lines.append(f"It was killed: close its record with: runbook records close {status.folder.name}")
        if status.state == INTERRUPTED and status.error is not None:
            lines += [str(status.error[part]) for part in ("meaning",) if status.error.get(part)]
        if status.state in (INTERRUPTED, UNKNOWN) or (status.state != SUCCEEDED and status.error is None):
            lines.append("Apply again: the run reads the current state first and completes what is missing.")
        title = f"{what}: {status.state} at {self.ended_at}."
        return Box(TONE.get(status.state, "stop"), title, tuple(lines))


@dataclass(frozen=True, repr=False)
class Links(Shown):
    """Links to files, from the open notebook; a file that its server does not show is named by its path."""

    files: tuple[tuple[str, Path], ...]
    served: Served

    def html(self) -> str:
        shown, hidden = self._parts()
        links = " &nbsp; ".join(f'<a href="{escaped(link)}">{escaped(label)}</a>' for label, link in shown)
        lines = [links, *map(escaped, hidden)]
        return f'<div style="{SANS};font-size:14px;margin:8px 0">{"<br>".join(filter(None, lines))}</div>'

    def text(self) -> str:
        shown, hidden = self._parts()
        return "\n".join([*(f"{label}: {visible(link)}" for label, link in shown), *map(visible, hidden)])

    def _parts(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Labels with their links, and lines about files that the server does not show."""
        links = [(label, self.served.link(path), path) for label, path in self.files]
        hidden = [f"{label}: {path}" for label, link, path in links if link is None]
        outside = ["Outside the folder that this JupyterLab shows:"] if hidden else []
        return [(label, link) for label, link, _ in links if link is not None], [*outside, *hidden]


def _files(folder: Path, sections: list[str]) -> list[tuple[str, Path]]:
    """The existing files of a record, with their labels."""
    files = [("Record of the run", folder / "index.html"), ("Page of all sections", folder / f"{WHOLE}.html")]
    for section in sections:
        notebook = folder / f"{SECTIONS[section].notebook}.ipynb"
        files += [(f"Page of section {section}", notebook.with_suffix(".html"))]
        files += [("Executed notebook", notebook)] if len(sections) == 1 else []
    files.append(("All records", folder.parents[2] / "index.html"))
    return [(label, path) for label, path in files if path.exists()]


def _named(sections: list[str]) -> str:
    if sections == [WHOLE] or tuple(sections) in (RUN_ORDER, TRUNK_ORDER):
        return "The whole tenant"
    if len(sections) == 1:
        return f"Section {sections[0]}"
    return f"Sections {', '.join(sections)}" if sections else "A run"


def doing(status: Status) -> str:
    """Return what a run is doing, and what it waits for, in a few words."""
    return ", ".join([_phase_in_words(status), *map(describe_wait, status.waits)])


def _phase_in_words(status: Status) -> str:
    phase, total = status.phase.get("phase"), status.phase.get("total")
    if phase == Phase.WAITING:
        return "waiting for another run"
    if phase == Phase.WRITING:
        number = min(status.written + 1, total) if isinstance(total, int) else status.written + 1
        return f"write {number} of {total}" if total else f"write {number}"
    return PHASES.get(phase, PHASES[Phase.STARTING]) if isinstance(phase, str) else PHASES[Phase.STARTING]


def _phases(status: Status) -> list[dict[str, str]]:
    """The phases of a run: those that are over, the one that it is in, and those to come."""
    order = list(PHASES)
    phase = status.phase.get("phase")
    waits = phase == Phase.WAITING
    at = order.index(Phase.READING) if waits else order.index(Phase(phase)) if phase in order else 0
    shown = [
        {
            "words": _phase_in_words(status) if place == at and not waits else words,
            "state": "done" if place < at else "now" if place == at and not waits else "to come",
        }
        for place, words in enumerate(PHASES.values())
    ]
    waiting = {"words": _phase_in_words(status), "state": "now"}
    return [*shown[:at], waiting, *shown[at:]] if waits else shown


def _as_shown(started: str) -> str:
    epoch = _epoch(started)
    return started if epoch is None else utc(datetime.fromtimestamp(epoch, UTC))


def _epoch(started: str) -> float | None:
    try:
        return datetime.fromisoformat(started).astimezone(UTC).timestamp()
    except ValueError:
        return None


def _journal(writes: Sequence[Mapping[str, Any]], ended: bool) -> Table:
    read = f" as of {utc()}" if ended else ""  # while it runs, the heading says that of everything
    return Table(
        f"Journal: {counted(len(writes), 'write')}{read}",
        ("Time (UTC)", "Step", "Resource", "Request", "Status"),
        [
            [
                write["at"][11:19],
                ", ".join(dict.fromkeys(row["step"] for row in write["rows"])),
                write["resource"],
                f"{write['vendor']} {write['method']}",
                _answer(write["answer"], ended),
            ]
            for write in writes
        ],
    )


def _answer(answer: Mapping[str, Any] | None, ended: bool) -> str:
    if answer is None:
        return "no answer was seen" if ended else "sent …"
    if answer["status"] is None:
        return f"no answer: {answer['error']}"
    return f"{answer['status']}, {answer['seconds']:.1f}\N{NO-BREAK SPACE}s"
