"""The ``runbook records`` commands: what was changed, by whom, and whether the record of it holds.

Exit status: 0 fine, 1 a problem was found or something was refused, 3 the usage is wrong. Names and
texts in records came from elsewhere: nothing of them acts on the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .errors import InputError, RunbookError
from .notebook.display import visible
from .notebook.tables import Table as ColumnTable
from .parameters import load_site, project_root
from .paths import current_folder, locate
from .plain_files import read_mapping, require_plain
from .records.chain import CLOSED, Chain, Entry, unreadable
from .records.errors import RecordError
from .records.export import export_record
from .records.policy import POLICY, OldSigner, change_policy
from .records.record import close_dead, remove_unopened
from .records.reviews import review as review_run
from .records.reviews import unreviewed
from .records.signatures import sign_head, signed_heads
from .records.uses import REVOKED
from .records.verify import (
    INDEX,
    Anchor,
    Problem,
    Report,
    by_event,
    check_record,
    is_head,
    is_run,
    read_chain,
    read_record,
    unopened,
)
from .records.verify import verify as verify_records
from .screen import complain, output_failed, screen

FAILED, WRONG_INPUT = 1, 3

app = typer.Typer(
    help="Change records: list, show, verify, sign and export them.",
    no_args_is_help=True,
    add_completion=False,
)

Records = Annotated[Path | None, typer.Option("--records", help="Records folder; default: the project's.")]
Run = Annotated[str, typer.Argument(help="Run id, its beginning if no other begins so, or SITE/TENANT/RUN.")]


@app.command("list")
def list_records(records: Records = None) -> None:
    """List the records of the chain, oldest first."""
    with _printed():
        folder = _folder(records)
        entries, problems = _chain(folder)
        runs = {run: digests for run, digests in by_event(entries).items() if is_run(run)}
        columns = [
            "Record",
            "Mode",
            "Sections",
            "Outcome",
            "Opened (UTC)",
            "Operator",
            "Ticket",
            "Writes",
            "State",
        ]
        rows = []
        for run, digests in runs.items():
            opening, record, wrong = read_record(folder, run, digests)
            problems += wrong
            state = CLOSED if CLOSED in digests else "open"
            cells = (
                run,
                opening.get("mode"),
                " ".join(map(str, opening.get("order") or ())),
                record.get("outcome"),
                str(opening.get("started") or "")[:16].replace("T", " "),
                opening.get("operator"),
                opening.get("ticket"),
                _mapping(record.get("journal")).get("writes"),
                f"{state}, NOT AS IT WAS" if wrong else state,
            )
            rows.append(cells)
        if not rows and not problems:
            _line("There is no record in the chain yet.")
            return
        _warn(problems)
        # A narrower terminal scrolls or wraps lines: run ids are to be copied, so nothing is folded.
        _name_events(folder, entries)
        _name_emergencies(folder, entries)
        if rows:
            screen.print(Text(ColumnTable("Records, the oldest first", columns, rows).text()), soft_wrap=True)
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def show(run: Run, records: Records = None) -> None:
    """Show one record: who, why, what was changed, what was read back."""
    with _printed():
        folder = _folder(records)
        entries, problems = _chain(folder)
        name = _find(_runs(entries), run, problems)
        digests = by_event(entries)[name]
        opening, closed, _ = read_record(folder, name, digests)
        problems += check_record(folder, name, entries)
        _warn(problems)
        record = closed or opening
        _facts(name, record)
        _table("Sections", _list(record, "guide_sections"), ("section", "title", "outcome", "message"))
        changes = ("section", "vendor", "method", "resource", "status", "request_id")
        _table("Changes", _list(record, "changes"), changes)
        _table("In flight: nobody knows whether these happened", _list(record, "in_flight"), changes)
        standing = ("section", "step", "setting", "value", "action")
        _table("Before", _list(record, "before"), standing)
        _table("After, read back", _list(record, "after"), standing)
        for one in entries:
            if one.run == name:
                _line(f"{one.event} {one.at}: {one.digest}")
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def head(records: Records = None) -> None:
    """Print the head of the chain, to keep it where the records are not."""
    with _printed():
        digest = Chain(_folder(records)).head
        if digest is None:
            raise RunbookError("there is no record yet", next_step="make one: runbook apply")
        screen.print(Text(digest), soft_wrap=True)


@app.command()
def verify(
    kept_head: Annotated[str | None, typer.Option("--head", help="A head that was kept, sha256:….")] = None,
    head_file: Annotated[
        Path | None, typer.Option(help="File of kept heads, one a line; lines with # are remarks.")
    ] = None,
    allowed_signers: Annotated[
        Path | None, typer.Option(help="OpenSSH's file of the keys that may sign heads.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Whose signatures count: a name in that file.")] = None,
    records: Records = None,
) -> None:
    """Say whether the records are what they were when they were closed; needs no secret."""
    with _reported():
        folder = _folder(records)
        allowed_signers, head_file = _given(allowed_signers), _given(head_file)
        anchors, problems = _anchors(kept_head, head_file), list[Problem]()
        if (allowed_signers is None) != (identity is None):
            raise InputError(["--allowed-signers and --identity: give both, or none"])
        if allowed_signers is not None and identity is not None:
            signed, problems = signed_heads(folder, allowed_signers, identity)
            anchors += signed
        report = verify_records(folder, anchors, problems)
    _show(folder, report)
    if report.problems:
        raise typer.Exit(FAILED)


@app.command()
def sign(
    key: Annotated[Path, typer.Option(help="Your SSH key.")],
    records: Records = None,
) -> None:
    """Sign the head of the chain with an SSH key."""
    with _reported():
        _line(f"Signed: {sign_head(_folder(records), _given(key) or key)}")


@app.command()
def export(
    run: Run, out: Annotated[Path, typer.Argument(help="The zip; must not exist.")], records: Records = None
) -> None:
    """Write one zip of a record, to attach to a ticket; refused if one of the record's secrets is in it."""
    with _reported():
        folder = _folder(records)
        name = _find(_runs(Chain(folder).entries()), run)
        for reference in export_record(folder, name, out, project_root()):
            _line(f"! not looked for in it, as it cannot be resolved here: {reference}", "yellow")
        _line(f"Written: {out}")


@app.command()
def close(run: Run, records: Records = None) -> None:
    """Close the record of a run that died, with what it left behind; remove one that never opened."""
    with _reported():
        folder = _folder(records)
        chained = _runs(Chain(folder).entries())
        name = _find([*chained, *unopened(folder, chained)], run)
        if name in chained:
            _line(f"Closed: {name}, {close_dead(folder, folder / name).digest}")
        else:
            remove_unopened(folder, folder / name)
            _line(f"Removed: {name}. Its run died before its record was opened, so it wrote nothing.")


@app.command()
def policy(
    site: Annotated[Path, typer.Option("--site", "-s", help="The site file with the new policies.")],
    reason: Annotated[str, typer.Option(help="Why, in words.")],
    key: Annotated[Path | None, typer.Option(help="SSH key of an allowed signer of before.")] = None,
    allowed_signers: Annotated[
        Path | None, typer.Option(help="The allowed signers as they were before.")
    ] = None,
    records: Records = None,
) -> None:
    """Enter that a site's policies are changed, which a live run with weaker ones needs."""
    with _reported():
        if (key is None) != (allowed_signers is None):
            raise InputError(["--key and --allowed-signers: give both, or none"])
        root = project_root()
        old = OldSigner(_given(key) or key, _given(allowed_signers) or allowed_signers) if key else None
        the_site = load_site(_given(site) or site, root)
        for entry in change_policy(_folder(records), the_site, root, reason, old):
            _line(f"Entered: {entry.file}, {entry.digest}")


@app.command()
def review(
    run: Run,
    remark: Annotated[str, typer.Option(help="What was found, in words.")],
    records: Records = None,
) -> None:
    """Enter that you have reviewed a run of an emergency, as another person than who ran it."""
    with _reported():
        folder = _folder(records)
        name = _find(_runs(Chain(folder).entries()), run)
        _line(f"Reviewed: {name}, {review_run(folder, name, remark).digest}")


@contextmanager
def _reported() -> Iterator[None]:
    """Tell an error as every command does, and end with its status."""
    try:
        yield
    except RunbookError as error:
        complain(str(error))
        raise typer.Exit(WRONG_INPUT if isinstance(error, InputError) else FAILED) from None
    except OSError as error:  # named by nobody else: a folder that may not be read, a disk that fails
        complain(str(unreadable(error)))
        raise typer.Exit(FAILED) from None


@contextmanager
def _printed() -> Iterator[None]:
    """As ``_reported``, for a command that does nothing but print: without its output it has failed."""
    with _reported():
        yield
        if output_failed():
            raise typer.Exit(FAILED)


def _folder(records: Path | None) -> Path:
    folder = _given(records)
    if folder is not None and not folder.is_dir():
        raise InputError([f"--records: {folder.absolute()} is not a folder"])
    return folder if folder is not None else project_root() / "records"


def _given(path: Path | None) -> Path | None:
    """The full path that an option means, by the rule of every path; as it is, if there is no such file."""
    return path and (locate(path, current_folder(), project_root()) or path)


def _chain(records: Path) -> tuple[list[Entry], list[Problem]]:
    """The entries that can be read, and what is wrong with the chain; an error when none is left to read."""
    entries, problems = read_chain(records)
    return (entries, problems) if entries else (Chain(records).entries(), problems)


def _runs(entries: Sequence[Entry]) -> list[str]:
    """The runs of the chain, in the order in which they opened."""
    return list(dict.fromkeys(one.run for one in entries if is_run(one.run)))


def _find(runs: Sequence[str], wanted: str, problems: Sequence[Problem] = ()) -> str:
    """The run that is meant: by its whole name, its run id, or the id's beginning."""
    if wanted in runs:
        return wanted
    found = [one for one in runs if wanted and one.rpartition("/")[2].startswith(wanted)]
    if len(found) != 1:
        what = f"{wanted}: {'no record' if not found else f'{len(found)} records'} of the chain"
        if problems:
            _warn(problems)
            raise RecordError(what, next_step="look at all that is wrong with: runbook records verify")
        raise InputError([what], next_step="runbook records list shows them")
    return found[0]


def _anchors(kept_head: str | None, head_file: Path | None) -> list[Anchor]:
    lines = [("--head", kept_head)] if kept_head is not None else []
    if head_file is not None:
        try:
            text = head_file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError([f"--head-file: {head_file} cannot be read ({type(error).__name__})"]) from None
        lines += [(f"line {number} of {head_file}", line) for number, line in enumerate(text.splitlines(), 1)]
    kept = [(place, line.strip()) for place, line in lines if line.strip() and not line.startswith("#")]
    if wrong := [place for place, line in kept if not is_head(line)]:
        raise InputError([f"{place}: not a head (sha256: and 64 hexadecimal digits)" for place in wrong])
    if not kept and (kept_head is not None or head_file is not None):
        raise InputError(["--head, --head-file: there is no head in it"])
    return [Anchor(line, f"the kept head ({place})") for place, line in kept]


def _show(records: Path, report: Report) -> None:
    for problem in report.problems:
        _line(f"✗ {problem.path}: {problem.what}", "red")
    for entry in report.after if report.anchored else ():
        _line(f"· after the kept head: {entry.event} {entry.run}")
    for name in sorted({*report.unchained, *report.strays} - {*report.reading}):
        _line(f"· not in the chain, nothing vouches for it: {name}{_kind(records / name)}")
    for name in report.unopened:
        _line(f"· never opened, so its run wrote nothing: {name}; to remove it: runbook records close {name}")
    if report.reading:
        count = len(report.reading)
        _line(f"· {count} runs of plan or verify, which are not chained: nothing vouches for them")
    if (records / INDEX).exists():
        _line(f"· {INDEX} is made from the records, and nothing vouches for the page itself")
    _name_events(records, report.entries)
    _name_emergencies(records, report.entries)
    counts = f"{len(report.records)} closed records, {len(report.entries)} entries of the chain"
    if report.problems:
        _line(f"{report.status}: {len(report.problems)} problems; {counts}", "bold red")
    elif report.anchored is not None:
        vouched = next(one for one in report.anchors if one.digest == report.anchored.digest)
        upto = f"up to entry {report.anchored.seq}, by {vouched.source}"
        if report.after:
            counts += f", of which {len(report.after)} came after and are not vouched for"
        _line(f"{report.status} {upto}; {counts}", "bold yellow" if report.after else "bold green")
    else:
        _line(f"{report.status}: {counts}", "bold")
        _line("Whoever can write here could have written all of it anew. Give a head that was kept")
        _line("elsewhere (--head, --head-file) or the keys that signed one (--allowed-signers, --identity).")


def _name_events(records: Path, entries: Sequence[Entry]) -> None:
    """Name what was changed about policies and approvals, which is in no record of a run."""
    for entry in entries:
        if entry.event in (POLICY, REVOKED):
            told = read_mapping(records / entry.file)
            who = ", ".join(str(one.get("name")) for one in _list(told, "by")[:1])
            what = "approval revoked" if entry.event == REVOKED else "policy changed"
            less = told.get("weaker")
            weaker = f" (weaker: {'; '.join(map(str, less))})" if isinstance(less, list) and less else ""
            _line(f"· {what} {entry.at} by {who}: {told.get('reason')}{weaker}")


def _name_emergencies(records: Path, entries: Sequence[Entry]) -> None:
    """Count what nobody approved before and nobody reviewed since."""
    if runs := unreviewed(records, entries):
        _line(f"! {len(runs)} runs of an emergency that nobody has reviewed: {', '.join(runs)}", "yellow")
        _line("  to review one, as another person: runbook records review RUN --remark TEXT")


def _kind(path: Path) -> str:
    """What is in a file's place, if it is no file."""
    try:
        if not path.is_dir() or path.is_symlink():
            require_plain(path)
    except OSError as error:
        return f" ({error.strerror})"
    return ""


def _warn(problems: Sequence[Problem]) -> None:
    """Say above everything else what of it is not what was recorded."""
    for problem in problems:
        _line(f"✗ {problem.path}: {problem.what}", "red")
    if problems:
        _line("NOT AS IT WAS: what is shown below may not be what was done.", "bold red")


def _facts(name: str, record: dict[str, Any]) -> None:
    target, approver = _mapping(record.get("target")), _mapping(record.get("approver"))
    by, runbook = _mapping(approver.get("by")), _mapping(record.get("runbook"))
    approved = [str(by[key]) for key in ("who", "how", "key") if by.get(key)]
    facts = (
        ("Record", name),
        ("Outcome", record.get("outcome", "open: the run died, or is still going on")),
        ("Problem", record.get("problem")),
        ("Mode", record.get("mode")),
        ("Target", ", ".join(str(value) for value in target.values())),
        ("Operator", record.get("operator")),
        ("Approved", ", ".join([*approved, *([str(approver["plan"])] if approver.get("plan") else [])])),
        ("Ticket", record.get("ticket")),
        ("Reason", record.get("reason")),
        ("Emergency", record.get("emergency")),
        ("Started (UTC)", record.get("started")),
        ("Ended (UTC)", record.get("ended")),
        ("Runbook", f"{runbook.get('version')} {runbook.get('source')}"),
    )
    for label, value in facts:
        if value:
            screen.print(Text.assemble((f"{label:<14} ", "bold"), _text(value)), soft_wrap=True)


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name.replace("_", " ").capitalize(), overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in columns))
    screen.print(table)


def _list(record: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of mappings, whatever somebody made of the file."""
    found = record.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> Text:
    return Text("" if value is None else visible(str(value)))


def _line(text: str, style: str = "") -> None:
    screen.print(Text(visible(text), style=style), soft_wrap=True)
