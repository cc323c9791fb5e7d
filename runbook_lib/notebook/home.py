"""The home page: the tenants of a site by section, what is in flight, the latest runs, what to do next.

It only reads. Where a person watches, it reads in its own thread and shows what it has so far; elsewhere
each cell waits for its answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
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
from ..watch.report import Drift
from ..words import requested
from ..workspace import records_folder
from .display import Box, Shown, heading, utc, visible
from .failures import told_plainly
from .latest import UnclosedRun, WorkspaceRuns, killed
from .outgoing import filter_kernel_output
from .overview import Overview, OverviewReader
from .passing import check_passed
from .served import Served
from .tables import NOTE, STATES, Link, Stack, Table
from .widgets import WithWidget, is_watched

if TYPE_CHECKING:
    from .panel import Board

#: How often (s) the records are looked at, and how often at most the table is drawn while it is read.
LOOK_S, DRAW_S = 2.0, 0.4
#: For how long (s) the board may be silent before nobody is thought to look at it. It speaks up every 20 s,
#: but a browser lets a page in the background do so once a minute.
AWAY_S = 150.0
LOOK_UP = "Who changed what"
OUTDATED = "A run has started or ended since this was read."
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
    "Choose a tenant to see its whole plan on one page, or a cell to open that section. With the "
    "keyboard, the arrow keys move and Enter opens. Opening changes nothing."
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
        self._found: Drift | RunbookError | None = None
        self._is_looking_up = False
        self._runs = WorkspaceRuns(self._records)
        self._unclosed: Sequence[UnclosedRun] = ()
        self._chain = self._runs.renew()
        #: When the board in the browser was heard last; a closed one is not looked for anything.
        self._heard_at = time.monotonic()
        self._is_drawn = True
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
        """Stop looking."""
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

        from .panel import Board

        self._board = Board(self._view(), self.answered)
        display(WithWidget(SAVED, self._board))
        return None

    def in_flight(self) -> Shown | None:
        """Show the runs that are going on, here or perhaps elsewhere, of all sites of the workspace."""
        return self._shown("in flight", self._in_flight)

    def runs(self) -> Shown | None:
        """Show the latest runs that were to change something, of all sites of the workspace."""
        return self._shown("runs", self._latest)

    def differences(self) -> Shown | None:
        """Show what differs and who changed it, as it was looked up last on request."""
        return self._shown("differences", self._differences)

    def answered(self, content: Mapping[str, Any]) -> None:
        """Do what a person asked for at the table; anything that it sends shows that it is still there."""
        self._heard_at = time.monotonic()
        if content.get("do") == "refresh":
            self.refresh()
        elif content.get("do") == "differences":
            self.look_up()
        elif content.get("do") == "site":
            self._choose(str(content.get("site", "")))
        elif content.get("do") == "new":
            self._show_copy("new tenant", *working_copies.make_form(self._root, self._site))
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
            self._update("next", self._next)
        self._start(self._read)

    def look_up(self) -> None:
        """Look up what differs and who changed it; nothing, while the site is being read or looked up."""
        with self._turn:
            if self._is_looking_up or not self._is_read.is_set() or self.overview.site is None:
                return
            self._is_looking_up = True
        self._draw(whole=True)
        self._update("differences", self._differences)
        self._start(self._look_up)

    def _look_up(self) -> None:
        reader = self._reader
        site = reader.overview.site
        assert site is not None, "a site that was read"
        found: Drift | RunbookError
        try:
            found = Drift.of(site, reader.owners, self._root)
        except RunbookError as error:
            found = error
        except Exception as error:  # a bug; the page must not wait for ever
            found = RunbookError(f"{type(error).__name__}: {error}")
            raise
        finally:
            with self._turn:
                self._is_looking_up = False
                if reader.overview.site_file == self._site:
                    self._found = found
            self._update("differences", self._differences)
            self._draw(whole=True)

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
                self._show_copy(name, *working_copies.make_form(self._root, overview.site_file, source))
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
        self._show_copy(name, path, changed)

    def _show_copy(self, name: str, path: Path, changed: Sequence[working_copies.Copy]) -> None:
        """Open a copy in a tab with the name; of one that is for other parameters now, say what to do."""
        kept = next((copy for copy in changed if copy.path == path), None)
        if kept is None:
            self._show_file(path, name)
        elif self._board is not None:
            self._board.answer(visible(working_copies.of_another(kept, self._root)))

    def _show_file(self, path: Path, name: str) -> None:
        """Open a file in the front end; say where it is, if that does not show it."""
        served = self._served.path_of(path)
        words = f"It is outside the folder that this JupyterLab shows: {path}" if served is None else ""
        if self._board is not None:
            # What somebody has changed is run by whoever has read it.
            copy = working_copies.Copy.at(path)
            run = copy is not None and copy.is_unchanged
            self._board.answer(visible(words), served, run=run, name=visible(name))

    def _chosen(self, site: str | Path | None) -> Path:
        if site is not None:
            found = locate(site, current_folder(), self._root)
            if found is None:
                raise InputError([f"site: there is no file {site}"], next_step="give the path of a site file")
            return found
        if not self._sites:
            raise InputError(
                [f"there is no site file below {self._root / 'parameters'}"],
                next_step="copy parameters/example to a folder of your own there, and fill it in",
            )
        return self._sites[0]

    def _choose(self, value: str) -> None:
        chosen = next((path for path in self._sites if near(path, self._root) == value), None)
        if chosen is not None and chosen != self._site:
            with self._turn:
                self._site, self._found = chosen, None
                self._is_read.set()  # whatever is being read is for nobody any longer
            self.refresh()
            self._update("differences", self._differences)

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
            if self._board is not None:
                self._board.beat += 1
                if time.monotonic() - self._heard_at > AWAY_S:
                    continue
            is_going_on = self.look()
            quiet = 0 if is_going_on else quiet + 1
            if self._is_outdated and quiet >= 2:
                self.refresh()

    def look(self) -> bool:
        """Look at the records, and show what has changed there; return whether a run is going on."""
        unclosed, chain = self._runs.unclosed(), self._runs.renew()
        if chain != self._chain:
            self._chain, self._is_outdated = chain, True
            self._is_drawn = False
            self._update("runs", self._latest)
        if unclosed != self._unclosed:
            self._unclosed = unclosed
            self._is_drawn = False
            self._update("in flight", self._in_flight)
            self._update("next", self._next)
        if not self._is_drawn:
            self._draw()
        return any(run.doing for run in unclosed)

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
            self._is_drawn = whole or time.monotonic() - self._drawn_at >= DRAW_S
            if self._board is None or not self._is_drawn:
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

    @property
    def _read_at(self) -> str:
        began = self.overview.began
        return "" if began is None else f"read {utc(began)}"

    def _next(self) -> Box:
        overview = self.overview
        if overview.error is not None:
            error = overview.error
            lines = (error.meaning, error.next_step)
            title = heading(self._heading, f"{overview.name} could not be read: {error.what}")
            return Box("stop", title, tuple(line for line in lines if line))
        if not overview.is_complete:
            return Box("info", f"Reading {overview.name} …")
        rows, unclosed = overview.rows, self._runs.unclosed()
        sentence = next_step(overview.name, rows, [run.run_id for run in killed(unclosed, overview.name)])
        worst = {TONES[row.most_urgent] for row in rows}
        tone = next((tone for tone in ("stop", "caution", "todo", "good") if tone in worst), "none")
        tones = {"todo": "info", "none": "info"}
        read = self._read_at
        notes = [f"{read[:1].upper()}{read[1:]}.", *overview.problems]
        notes += [OUTDATED] if self._is_outdated else []
        return Box(tones.get(tone, tone), heading(self._heading, sentence), tuple(notes))

    def _table(self) -> Shown:
        overview = self.overview
        table = Matrix(
            "Tenants by section",
            ("Tenant", *RUN_ORDER, "Note"),
            [[row.name, *map(_word(row), RUN_ORDER), row.error or None] for row in overview.rows],
            owner=self._heading,
            read=self._read_at,
            empty="no tenants were read",
        )
        return Stack((table,))

    def _differences(self) -> Shown:
        found = self._found
        if self._is_looking_up:
            return Box("info", f"Looking up what differs on {self.overview.name}, and who changed it …")
        if found is None:
            command = f"runbook drift -s {near(self._site, self._root)} --all"
            how = f"Press “{LOOK_UP}” above the table of tenants, or run: {command}"
            return Box("info", "Not looked up yet.", (how,))
        if isinstance(found, RunbookError):
            lines = [line for line in (found.meaning, found.next_step) if line]
            return Box(
                "stop", heading(self._heading, f"This could not be looked up: {found.what}"), tuple(lines)
            )
        unread = [f"{looked.owner.name} could not be read: {looked.error}" for looked in found.unread]
        tone = "stop" if unread else "caution" if found.differences else "good"
        table = Differences(
            "What differs from the parameters, and who changed it",
            ("Tenant", "Step", "Changed by", "Setting", "Now", "Should be", "Action"),
            [
                (tenant, step, author, setting, current, desired, action)
                for tenant, step, setting, current, desired, action, author in found.table()
            ],
            owner=self._heading,
            read=f"read {utc(datetime.fromisoformat(found.at))}",
            empty="nothing differs",
        )
        return Stack((Box(tone, found.sentence, (f"{requested(found.requests)}.", *unread)), table))

    def _in_flight(self) -> Shown:
        rows = [
            [
                run.since[:19].replace("T", " "),
                run.target,
                f"{run.site}/{run.tenant}",
                run.sections,
                run.operator,
                run.doing or _elsewhere(run),
                None
                if run.doing
                else f"If it has ended: runbook records close {run.run_id} --reason TEXT"
                f" --confirm {run.run_id}",
            ]
            for run in self._runs.unclosed()
            if not run.was_killed
        ]
        return Runs(
            "In flight right now",
            ("Since (UTC)", "Target", "Tenant", "Sections", "By", "Doing", NOTE),
            rows,
            empty="no run is in flight",
            read=f"as of {utc()}",
        )

    def _latest(self) -> Shown:
        rows = [
            [
                Link(row.opened[:19].replace("T", " "), self._page_of(row.run)),
                row.facts.target or "unknown",
                f"{row.site}/{row.tenant}",
                row.condition if row.problems else row.outcome,
                row.facts.changed or None,
                row.facts.operator,
                row.facts.ticket or None,
                row.run,
            ]
            for row in self._runs.latest()
        ]
        table = Runs(
            "Latest runs",
            ("When (UTC)", "Target", "Tenant", "Outcome", "What changed", "Who", "Ticket", "Run"),
            rows,
            empty="no run has opened a record yet",
            read=f"as of {utc()}",
            hidden=["Run"],
        )
        every = self._records / "index.html"
        link = Table("All records", ("Where",), [[Link("list of all records", self._served.link(every))]])
        return Stack((table, link)) if every.exists() else table

    def _page_of(self, run: str) -> str | None:
        page = self._records / run / "index.html"
        return self._served.link(page) if page.exists() else None

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
        notes = [*overview.problems]
        if self._is_outdated:
            notes.append(OUTDATED)
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
            "looking_up": self._is_looking_up,
            "look_up": LOOK_UP,
            "done": done,
            "total": total,
            "count": count,
            "caption": visible(heading(self._heading, "Tenants by section", self._read_at)),
            "columns": [{"number": number, "title": SECTIONS[number].title} for number in RUN_ORDER],
            "rows": rows,
            "notes": [visible(note) for note in notes],
            "about": ABOUT,
            "spoken": "Reading the tenants." if reading else f"{done} of {total} rows were read.",
        }

    def _row_view(self, name: str) -> dict[str, Any]:
        overview = self.overview
        row = overview.owners.get(name)
        running = [
            f"running: {run.doing}" if run.doing else _elsewhere(run)
            for run in self._unclosed
            if (run.site, run.tenant) == (overview.name, name) and not run.was_killed
        ]
        return {
            "name": visible(name),
            "about": f"Open {visible(name)}",
            "has_file": isinstance(overview.sources[name], Path),
            "running": visible(", ".join(running)),
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


class Runs(Table):
    """A table of runs: what does not fit beside the rest is a line below its row."""

    most_columns = 4


class Differences(Table):
    """A table of what differs; the values are a line below their setting."""

    most_columns = 4


class Matrix(Table):
    """A table of states: a column for the tenant and one for each section."""

    most_columns = fewest_columns = 1 + len(RUN_ORDER)


def _elsewhere(run: UnclosedRun) -> str:
    """What is known of a run of another machine, whose locks cannot be seen from here."""
    where = f"on {run.host}" if run.host else "on another machine"
    return f"not closed; it ran {where}, which cannot be seen from here"


def _word(row: OwnerStates) -> Callable[[str], str | None]:
    """A row's state in a section, ``None`` in one that does not apply."""
    return lambda number: str(row.sections[number].state) if number in row.sections else None
