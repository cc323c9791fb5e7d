"""What the commands of ``runbook records`` share: their options, their errors, and how they print."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ...errors import InputError, RunbookError
from ...notebook.display import visible
from ...outcomes import ExitStatus
from ...paths import current_folder, locate
from ...records import living
from ...records.chain import CLOSED, Chain, Entry, unreadable
from ...records.chain_reading import is_run, read_chain
from ...records.clocks import describe_set_back
from ...records.errors import RecordError
from ...records.first_block import mappings
from ...records.problems import Problem, only_newer
from ...records.register import GOING_ON
from ...records.reviews import describe_events
from ...records.summary import NOT_ENDED
from ...screen import complain, output_failed, screen
from ...secret import scrub
from ...words import counted
from ...workspace import find_workspace
from ..ending import report

app = typer.Typer(
    help="Change records: list, show, verify, sign and export them.",
    no_args_is_help=True,
    add_completion=False,
)

Records = Annotated[Path | None, typer.Option("--records", help="Records folder; default: the workspace's.")]
Run = Annotated[str, typer.Argument(help="Run ID, an unambiguous beginning of one, or SITE/TENANT/RUN.")]
#: What a record says of each of its sections.
SECTION_COLUMNS = ("section", "title", "outcome", "message")
Reason = Annotated[str, typer.Option(help="Reason, which is recorded in the entry.")]


@contextmanager
def reported() -> Iterator[None]:
    """Report an error as every command does, and end with its status."""
    try:
        yield
    except (RunbookError, OSError) as error:
        # Nothing else names the file of an OSError: a folder that cannot be read, a failing disk.
        problem = unreadable(error) if isinstance(error, OSError) else error
        raise typer.Exit(report(problem)) from None


@contextmanager
def printed() -> Iterator[None]:
    """As ``reported``, for a command that does nothing but print: without its output it has failed."""
    with reported():
        yield
        if output_failed():
            raise typer.Exit(ExitStatus.FAILED)


def chosen_records(records: Path | None) -> Path:
    folder = given(records)
    if folder is not None and not folder.is_dir():
        raise InputError([f"--records: {folder.absolute()} is not a folder"])
    return folder if folder is not None else find_workspace().records


def given(path: Path | None) -> Path | None:
    """The full path that an option means, by the rule of every path; as it is, if there is no such file."""
    return path and (locate(path, current_folder(), find_workspace().folder) or path)


def read_whole_chain(records: Path) -> tuple[list[Entry], list[Problem]]:
    """The entries that can be read, and what is wrong with the chain; an error when none is left to read."""
    entries, problems = read_chain(records)
    return (entries, problems) if entries else (Chain(records).entries(), problems)


def state_of(records: Path, run: str, digests: Mapping[str, str]) -> str:
    """Whether a record is closed, its run is still going, or its run died."""
    if CLOSED in digests:
        return CLOSED
    return GOING_ON if living.is_going_on(records / run) else NOT_ENDED


def runs_of(entries: Sequence[Entry]) -> list[str]:
    """The runs of the chain, in the order in which they opened."""
    return [run for run in dict.fromkeys(one.run for one in entries) if is_run(run)]


def find_run(runs: Sequence[str], wanted: str, problems: Sequence[Problem] = ()) -> str:
    """The run that is meant: by its whole name, its run id, or the id's beginning."""
    if wanted in runs:
        return wanted
    found = [one for one in runs if wanted and one.rpartition("/")[2].startswith(wanted)]
    if len(found) != 1:
        what = f"{wanted}: {'no record' if not found else f'{len(found)} records'} of the chain"
        if problems:
            warn(problems)
            raise RecordError(what, next_step="list every problem with: runbook records verify")
        raise InputError([what], next_step="runbook records list shows them")
    return found[0]


def renew_pages(folder: Path) -> None:
    """Write the page over all records again; a failure is a caution, as nothing depends on the page."""
    from ...batch.pages import renew_index

    for caution in renew_index(folder):
        complain(f"Caution: {caution}")


def name_events(records: Path, entries: Sequence[Entry]) -> None:
    """Name what was changed about policies and approvals, which is in no record of a run."""
    for event in describe_events(records, entries):
        line(f"· {event}")


def name_emergencies(runs: Sequence[str]) -> None:
    """Count what nobody approved before and nobody reviewed since."""
    if runs:
        line(f"! {counted(len(runs), 'emergency run')} that nobody has reviewed: {', '.join(runs)}", "yellow")
        line("  to review one, as another person: runbook records review RUN --remark TEXT")


def warn(problems: Sequence[Problem]) -> None:
    """Print first of all what no longer matches what was recorded."""
    for problem in problems:
        line(f"✗ {problem.path}: {problem.what}", "red")
    if problems and not only_newer(problems):
        line("CHANGED SINCE IT WAS RECORDED: what is shown below may not be what was done.", "bold red")


def warn_of_clocks(entries: Sequence[Entry]) -> None:
    """Name the places where the chain's times go backwards: a record is not where its time says."""
    for what, is_grave in describe_set_back(entries):
        line(f"{'!' if is_grave else '·'} {what}", "yellow" if is_grave else "")


def names_of(by: object) -> str:
    return ", ".join(str(one.get("name")) for one in mappings({"by": by}, "by"))


def in_one_line(row: Mapping[str, Any], column: str) -> Any:
    """A value of a table; a message of several lines, which are our own words, in one; ``None`` for none."""
    value = row.get(column)
    return " ".join(str(value or "").splitlines()) or None if column == "message" else value


def shown_text(value: object) -> Text:
    return Text("" if value is None else visible(str(value)))


def print_text(content: str) -> None:
    """Print much text as it is: nothing in it acts on a terminal."""
    screen.file.write(f"{content}\n")


def print_json(data: Mapping[str, Any]) -> None:
    """Print data as JSON."""
    # ASCII alone: nothing in it acts on a terminal.
    print_text(scrub(json.dumps(data, indent=1)))


def line(content: str, style: str = "") -> None:
    """Print one line, in which nothing acts on the terminal."""
    screen.print(Text(visible(content), style=style), soft_wrap=True)
