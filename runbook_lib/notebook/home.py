"""The home page: the tenants of a site by section, what is in flight, the latest runs, what to do next.

It only reads. Where a person watches, it reads in a thread of its own and shows what it has so far; elsewhere
each cell waits for its answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import working_copies
from ..errors import InputError, RunbookError
from ..guide import RUN_ORDER, SECTIONS
from ..parameters import project_root
from ..parameters.tenants import site_files
from ..paths import current_folder, locate, near
from ..plain_files import describe
from ..states import OwnerStates, State, next_step
from ..workspace import records_folder
from .display import Box, Shown, heading, utc, visible
from .failures import told_plainly
from .latest import RunInFlight, killed_runs, latest_runs, runs_in_flight, stamp
from .outgoing import filter_kernel_output
from .overview import Overview, OverviewReader
from .passing import check_passed
from .served import Served
from .tables import STATES, Link, Stack, Table
from .widgets import WithWidget, is_watched

if TYPE_CHECKING:
    from .board import Board

#: How often (s) the records are looked at, and how often at most the table is drawn while it is read.
LOOK_S, DRAW_S = 2.0, 0.4
TONES = {
    State.UNREACHABLE: "stop",
    State.INVALID: "stop",
    State.CONFLICT: "stop",
    State.DIFFERS: "caution",
    State.TO_DO: "todo",
    State.RINGS_NOWHERE: "caution",
    State.CHECK: "caution",
    State.IN_PLACE: "good",
    State.NOT_ASKED: "none",
}
BANNERS = {
    "live": "LIVE: what you apply changes the telephone service of a real business",
    "sandbox": "SANDBOX: both vendors are simulated on this machine",
}
ABOUT = (
    "Choose a tenant for its whole plan on one page, or a cell for that section."
    " With the keyboard: arrows move, Enter opens. Opening changes nothing."
)
#: What stays of the table in a notebook that is saved.
SAVED = Box("info", "The tenants are read whenever this cell runs.", ("Run all cells.",))
_open: list[HomePage] = []


def open_home(site: str | Path | None = None) -> HomePage:
    """Begin to read a site, and return the home page; ``None`` for the first one below ``parameters/``.

    A home page that was opened before in this kernel ends.
    """
    filter_kernel_output()
    while _open:
        _open.pop().close()
    with told_plainly():
        check_passed("plan", (), of_all=("site",))
        page = HomePage(site, watched=is_watched())
    _open.append(page)
    return page


class HomePage:
    """The home page's notebook: ``next``, ``tenants``, ``in_flight``, ``runs``.

    Parameters
    ----------
    site
        The site's file; ``None`` for the first one below ``parameters/``.
    watched
        Whether a person watches, to whom later readings are shown in place.

    Raises ``InputError`` if there is no such site.
    """

    def __init__(self, site: str | Path | None, *, watched: bool) -> None:
        self._root = project_root()
        self._records = records_folder(self._root)
        self._served = Served.by_this_kernel()
        self._watched = watched
        self._sites = site_files(self._root)
        self._site = self._chosen(site)
        self._turn = threading.RLock()
        self._reader = OverviewReader(self._site, self._root, self._draw)
        self._is_read = threading.Event()
        self._drawn_at = 0.0
        self._handles: dict[str, Any] = {}
        self._board: Board | None = None
        self._closed = threading.Event()
        self._in_flight: Sequence[RunInFlight] = ()
        self._stamp = stamp(self._records)
        #: Whether a run has changed something since the table was read.
        self._is_outdated = False
        if watched:
            self._start(self._watch)
            self._start(self._read)

    @property
    def overview(self) -> Overview:
        """What is known so far."""
        return self._reader.overview

    def close(self) -> None:
        """Look at nothing any longer."""
        self._closed.set()

    def wait(self, seconds: float) -> None:
        """Wait until everything was read, ``seconds`` at most."""
        self._is_read.wait(seconds)

    def next(self) -> Shown | None:
        """Show what to do next, in one sentence."""
        return self._shown("next", self._next)

    def tenants(self) -> Shown | None:
        """Show the tenants by section; for a person, with the list of sites and Refresh."""
        if not self._watched:
            return self._shown("tenants", self._table)
        from IPython.display import display

        from .board import Board

        self._board = Board(self._view(), self.answered)
        display(WithWidget(SAVED, self._board))
        return None

    def in_flight(self) -> Shown | None:
        """Show the runs in progress at all sites of the workspace."""
        return self._shown("in flight", self._running)

    def runs(self) -> Shown | None:
        """Show the latest runs that opened a record, of all sites of the workspace."""
        return self._shown("runs", self._latest)

    def answered(self, content: Mapping[str, Any]) -> None:
        """Do what a person asked for at the table."""
        if content.get("do") == "refresh":
            self.refresh()
        elif content.get("do") == "site":
            self._choose(str(content.get("site", "")))
        elif content.get("do") == "new":
            self._show_copy(*working_copies.make_form(self._root, self._site))
        elif content.get("do") == "open":
            self.open(str(content.get("name", "")), str(content.get("section", "")))

    def refresh(self) -> None:
        """Read the site again; nothing, while it is being read."""
        with self._turn:
            if not self._is_read.is_set():
                return
            self._is_read.clear()
            self._is_outdated = False
            self._reader = OverviewReader(self._site, self._root, self._draw)
        self._start(self._read)

    def open(self, name: str, section: str) -> None:
        """Open a tenant's page, its parameters, or one of its sections, as a working copy; makes the copies.

        Of a tenant whose file is wrong, whatever was chosen, its parameters.
        """
        overview, board = self.overview, self._board
        source, row = overview.sources.get(name), overview.owners.get(name)
        if board is None or source is None:
            return
        is_invalid = row is not None and row.most_urgent is State.INVALID
        try:
            if is_invalid and isinstance(source, Path):
                self._show_copy(*working_copies.make_form(self._root, overview.site_file, source))
                return
            if overview.site is None:
                raise InputError(["the site's file is wrong: correct it, then press Refresh"])
            folder, changed = working_copies.make_for(
                self._root, overview.site_file, overview.site.name, source, name
            )
        except (OSError, RunbookError) as error:
            board.answer(visible(describe(error) if isinstance(error, OSError) else str(error)))
            return
        page = working_copies.PARAMETERS if section == "parameters" else f"{working_copies.FIRST}.ipynb"
        path = folder / (f"{SECTIONS[section].notebook}.ipynb" if section in SECTIONS else page)
        self._show_copy(path, changed)

    def _show_copy(self, path: Path, changed: Sequence[working_copies.Copy]) -> None:
        """Open a copy; say so where somebody has changed it, and it is for other parameters."""
        kept = next((copy for copy in changed if copy.path == path), None)
        self._show_file(
            path, f"It was changed, and is for {kept.parameters}: check its parameters." if kept else ""
        )

    def _show_file(self, path: Path, words: str = "") -> None:
        """Open a file in the front end; say where it is, if that does not show it."""
        served = self._served.path_of(path)
        if served is None:
            words += f" It is outside the folder that this JupyterLab shows: {path}"
        if self._board is not None:
            # What somebody has changed is run by whoever has read it.
            copy = working_copies.Copy.at(path)
            self._board.answer(visible(words.strip()), served, run=copy is not None and copy.is_unchanged)

    def _chosen(self, site: str | Path | None) -> Path:
        if site is not None:
            found = locate(site, current_folder(), self._root)
            if found is None:
                raise InputError([f"site: there is no file {site}"], next_step="name a site's file")
            return found
        if not self._sites:
            raise InputError(
                [f"there is no site below {self._root / 'parameters'}"],
                next_step="copy parameters/example to a folder of your own there, and fill it in",
            )
        return self._sites[0]

    def _choose(self, value: str) -> None:
        chosen = next((path for path in self._sites if near(path, self._root) == value), None)
        if chosen is not None and chosen != self._site:
            with self._turn:
                self._site = chosen
                self._is_read.set()  # whatever is being read is for nobody any longer
            self.refresh()

    def _start(self, call: Callable[[], object]) -> None:
        threading.Thread(target=call, name=f"home: {call.__name__}", daemon=True).start()

    def _read(self) -> None:
        reader = self._reader
        try:
            reader.read()
        except Exception as error:  # a bug; the page must not wait for ever
            reader.overview.error = RunbookError(f"{type(error).__name__}: {error}")
            reader.overview.is_complete = True
            raise
        finally:
            with self._turn:
                if reader is self._reader:
                    self._is_read.set()
            self._draw(whole=True)

    def _read_once(self) -> None:
        if not self._watched and not self._is_read.is_set():
            self._read()

    def _watch(self) -> None:
        """Look at the records as long as the page is open; read again when the last run has ended."""
        quiet = 0
        while not self._closed.wait(LOOK_S):
            running, now = runs_in_flight(self._records), stamp(self._records)
            if now != self._stamp:
                self._stamp, self._is_outdated = now, True
                self._update("runs", self._latest)
            if running != self._in_flight:
                self._in_flight = running
                self._update("in flight", self._running)
            quiet = 0 if running else quiet + 1
            if self._is_outdated and quiet >= 2:
                self.refresh()
            if self._board is not None:
                self._board.beat += 1
            self._draw()

    def _shown(self, name: str, make: Callable[[], Shown]) -> Shown | None:
        """What a cell shows: for a person, in a place where later readings are shown as well."""
        self._read_once()
        if not self._watched:
            return make()
        from IPython.display import display

        self._handles[name] = display(make(), display_id=True)
        return None

    def _update(self, name: str, make: Callable[[], Shown]) -> None:
        if name in self._handles:
            self._handles[name].update(make())

    def _draw(self, *, whole: bool = False) -> None:
        """Show what was read so far, not more often than somebody can see."""
        with self._turn:
            if self._board is None or (not whole and time.monotonic() - self._drawn_at < DRAW_S):
                return
            self._drawn_at = time.monotonic()
            view = self._view()
            if self._board.view != view:
                self._board.view = view
            if whole:
                self._update("next", self._next)

    @property
    def _heading(self) -> str:
        overview = self.overview
        target = overview.site.target.upper() if overview.site is not None else ""
        return f"{target} {overview.name}".strip()

    def _next(self) -> Box:
        overview = self.overview
        if overview.error is not None:
            error = overview.error
            lines = (error.meaning, error.next_step)
            title = heading(self._heading, f"{overview.name} could not be read: {error.what}")
            return Box("stop", title, tuple(line for line in lines if line))
        if not overview.is_complete:
            return Box("info", f"Reading {overview.name} …")
        rows = overview.rows
        sentence = next_step(overview.name, rows, killed_runs(latest_runs(self._records), overview.name))
        worst = {TONES[row.most_urgent] for row in rows}
        tone = next((tone for tone in ("stop", "caution", "todo", "good") if tone in worst), "none")
        tones = {"todo": "info", "none": "info"}
        return Box(tones.get(tone, tone), heading(self._heading, sentence), tuple(overview.problems))

    def _table(self) -> Shown:
        overview = self.overview
        table = Matrix(
            "Tenants by section",
            ("Tenant", *RUN_ORDER, "Note"),
            [[row.name, *map(_word(row), RUN_ORDER), row.error or None] for row in overview.rows],
            owner=self._heading,
            read="" if overview.began is None else f"read {utc(overview.began)}",
            empty="no tenants were read",
        )
        return Stack((table,))

    def _running(self) -> Shown:
        running = runs_in_flight(self._records)
        return Table(
            "In flight right now",
            ("Since (UTC)", "Tenant", "Sections", "By", "Doing"),
            [
                [
                    run.since[:19].replace("T", " "),
                    f"{run.site}/{run.tenant}",
                    run.sections,
                    run.operator,
                    run.doing,
                ]
                for run in running
            ],
            empty="no run is in flight",
            read=f"as of {utc()}",
        )

    def _latest(self) -> Shown:
        rows = [
            [
                row.opened[:19].replace("T", " "),
                f"{row.site}/{row.tenant}",
                row.outcome,
                row.facts.changed or None,
                row.facts.operator,
                row.facts.ticket or None,
                self._link(row.run),
            ]
            for row in latest_runs(self._records)
        ]
        table = Table(
            "Latest runs",
            ("When (UTC)", "Tenant", "Outcome", "What changed", "Who", "Ticket", "Record"),
            rows,
            empty="no run has opened a record yet",
            read=f"as of {utc()}",
        )
        every = self._records / "index.html"
        link = Table("All records", ("Where",), [[Link("list of all records", self._served.link(every))]])
        return Stack((table, link)) if every.exists() else table

    def _link(self, run: str) -> Link:
        page = self._records / run / "index.html"
        return Link(run.rpartition("/")[2], self._served.link(page) if page.exists() else None)

    def _view(self) -> dict[str, Any]:
        """What the widget shows."""
        overview, root = self.overview, self._root
        reading = not overview.is_complete
        rows = [self._row_view(name) for name in overview.sources]
        sites = dict.fromkeys((*self._sites, self._site))
        done, total = len(overview.owners), len(overview.sources)
        count = f"{done} of {total} read" if reading else ""
        if reading and overview.began is None:
            count = "reading the parameter files"
        read = "" if overview.began is None else f"read {utc(overview.began)}"
        notes = [*overview.problems]
        if self._is_outdated:
            notes.append("A run has opened or closed its record since this was read.")
        if overview.error is not None:
            notes += str(overview.error).splitlines()
        target = overview.site.target if overview.site is not None else ""
        banner = BANNERS.get(target, "This site's file cannot be read" if overview.error else "…")
        return {
            "banner": visible(f"{overview.name} · {banner}"),
            "target": target,
            "sites": [{"value": near(path, root), "label": near(path, root)} for path in sites],
            "site": near(self._site, root),
            "reading": reading,
            "done": done,
            "total": total,
            "count": count,
            "caption": visible(heading(self._heading, "Tenants by section", read)),
            "columns": [{"number": number, "title": SECTIONS[number].title} for number in RUN_ORDER],
            "rows": rows,
            "notes": [visible(note) for note in notes],
            "about": ABOUT,
            "spoken": "Reading the tenants." if reading else f"{done} of {total} rows were read.",
        }

    def _row_view(self, name: str) -> dict[str, Any]:
        overview = self.overview
        row = overview.owners.get(name)
        running = [run for run in self._in_flight if (run.site, run.tenant) == (overview.name, name)]
        return {
            "name": visible(name),
            "about": f"Open {visible(name)}",
            "has_file": isinstance(overview.sources[name], Path),
            "running": ", ".join(f"running: {run.doing}" for run in running),
            "error": [visible(line) for line in row.error.splitlines()] if row is not None else [],
            "cells": None
            if row is None
            else {
                number: {
                    "state": str(part.state),
                    "symbol": STATES[part.state][0],
                    "tone": TONES[part.state],
                    "about": visible(
                        f"{name}, section {number} {SECTIONS[number].title}: {part.state}"
                        + (f" ({part.details})" if part.details else "")
                    ),
                }
                for number, part in row.sections.items()
            },
        }


class Matrix(Table):
    """A table of states: a column for the tenant and one for each section."""

    most_columns = 1 + len(RUN_ORDER)


def _word(row: OwnerStates) -> Callable[[str], str | None]:
    """A row's state in a section, ``None`` in one that does not apply."""
    return lambda number: str(row.sections[number].state) if number in row.sections else None
