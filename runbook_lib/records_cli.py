"""The ``runbook records`` commands: what was changed, by whom, and whether the records are intact.

Exit status: 0 fine, 1 a problem was found or something was refused, 3 the usage is wrong. Names and
texts in records came from elsewhere, and have no effect on the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .errors import InputError, RunbookError
from .notebook.display import visible
from .notebook.styled import UNFOLDED
from .notebook.tables import Table as ColumnTable
from .parameters import load_site, project_root
from .paths import current_folder, locate
from .plain_files import opened, read_mapping
from .records import living
from .records.anchor import SETTINGS, Kept, age_of, head_cautions, kept_heads
from .records.approvals import signed_approvals
from .records.chain import ADOPTED, CLOSED, Chain, Entry, unreadable
from .records.clocks import clock_cautions, describe_set_back
from .records.errors import RecordError
from .records.export import export_record
from .records.policy import OldSigner, change_policy
from .records.record import (
    OPENING,
    Closing,
    adopt,
    close_dead,
    record_so_far,
    remove_unopened,
    run_name,
)
from .records.result import now
from .records.reviews import describe_events, unreviewed
from .records.reviews import review as review_run
from .records.signatures import Signatures, sign_head, signed_heads
from .records.summary import NOT_ENDED
from .records.verify import (
    INDEX,
    Anchor,
    Damage,
    Problem,
    Report,
    by_event,
    check_record,
    is_head,
    is_run,
    only_newer,
    read_chain,
    read_record,
    unopened,
)
from .records.verify import verify as verify_records
from .screen import complain, output_failed, screen
from .workspace import find_workspace

FAILED, WRONG_INPUT = 1, 3

app = typer.Typer(
    help="Change records: list, show, verify, sign and export them.",
    no_args_is_help=True,
    add_completion=False,
)

Records = Annotated[Path | None, typer.Option("--records", help="Records folder; default: the workspace's.")]
Run = Annotated[str, typer.Argument(help="Run ID, its unique beginning, or SITE/TENANT/RUN.")]


@app.command("list")
def list_records(
    tenant: Annotated[
        str | None,
        typer.Option(help="Only this tenant's records, including changes of shared trunks that it used."),
    ] = None,
    records: Records = None,
) -> None:
    """List the records of the chain, oldest first."""
    with _printed():
        folder = _folder(records)
        entries, problems = _chain(folder)
        runs = {run: digests for run, digests in by_event(entries).items() if is_run(run)}
        domains = _domains(folder, runs, tenant) if tenant is not None else set[str]()
        columns = [
            "Record",
            "Mode",
            "Sections",
            "Outcome",
            "Opened (UTC)",
            "Operator",
            "Approved",
            "Ticket",
            "Writes",
            "State",
        ]
        rows, cautions, openings = [], list[str](), dict[str, dict[str, Any]]()
        for run, digests in runs.items():
            opening, record, wrong = read_record(folder, run, digests)
            openings[run] = opening
            if tenant is not None and not _is_of(run, opening, tenant, domains):
                continue
            problems += wrong
            state = _state(folder, run, digests)
            approver = _mapping(record.get("approver")) or _mapping(opening.get("approval"))
            cells = (
                run,
                opening.get("mode"),
                " ".join(map(str, opening.get("order") or ())),
                record.get("outcome") or (None if CLOSED in digests else state),
                str(opening.get("started") or "")[:16].replace("T", " "),
                opening.get("operator"),
                _approved(approver),
                opening.get("ticket"),
                _mapping(record.get("journal")).get("writes"),
                f"{state}, {_what_of(wrong)}" if wrong else state,
            )
            cautions += [f"{run}: {one}" for one in clock_cautions(record.get("clocks"), "was")]
            rows.append(cells)
        for entry in entries:
            if entry.event == ADOPTED and is_run(entry.run) and tenant in (None, entry.run.split("/")[1]):
                told = read_mapping(folder / entry.file)
                rows.append((entry.run, *[None] * (len(columns) - 2), f"adopted: {told.get('why')}"))
        if not rows and not problems:
            of = f" of {tenant}" if tenant is not None else ""
            _line(f"There is no record{of} in the chain yet.")
            return
        _warn(problems)
        _warn_of_clocks(entries)
        for caution in cautions:
            _line(f"! {caution}", "yellow")
        # A narrower terminal scrolls or wraps lines: run ids are to be copied, so nothing is folded.
        _name_events(folder, entries)
        _name_emergencies(unreviewed(entries, openings))
        if rows:
            table = ColumnTable("Records, the oldest first", columns, rows)
            screen.print(Text(table.text(UNFOLDED)), soft_wrap=True)
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def show(run: Run, records: Records = None) -> None:
    """Show one record: who, why, what was changed, what was read back."""
    with _printed():
        folder = _folder(records)
        entries, problems = _chain(folder)
        name = _find(_runs(entries), run, problems)
        digests = by_event(entries).get(name, {})
        opening, closed, unread = read_record(folder, name, digests)
        problems += check_record(folder, name, entries)
        problems += [one for one in unread if one.damage is Damage.NEWER and one not in problems]
        _warn(problems)
        is_open = bool(digests) and CLOSED not in digests
        # Of a run that has not ended nothing is certain but its opening: what lies in its folder is shown.
        record = closed or ({**_so_far(folder / name), **opening} if is_open else opening)
        if is_open:
            record["outcome"] = _state(folder, name, digests)
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
                told = read_mapping(folder / one.file) if one.event == ADOPTED else {}
                why = f" ({told.get('why')}, by {_names(told.get('by'))})" if told else ""
                _line(f"{one.event} {one.at}: {one.digest}{why}")
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def head(records: Records = None) -> None:
    """Print the head of the chain, to store it somewhere else."""
    with _printed():
        digest = Chain(_folder(records)).head
        if digest is None:
            raise RunbookError("there is no record yet", next_step="create one: runbook apply")
        screen.print(Text(digest), soft_wrap=True)


@app.command()
def verify(
    kept_head: Annotated[
        str | None, typer.Option("--head", help="A head that was kept elsewhere, sha256:….")
    ] = None,
    head_file: Annotated[
        Path | None, typer.Option(help="File of kept heads, one per line; lines with # are comments.")
    ] = None,
    allowed_signers: Annotated[
        Path | None, typer.Option(help="OpenSSH's file of the keys that may sign heads.")
    ] = None,
    identity: Annotated[
        list[str] | None, typer.Option(help="Name in that file whose signatures count; can be repeated.")
    ] = None,
    revoked: Annotated[
        Path | None, typer.Option(help="Revoked keys: a file of public keys, or one made by ssh-keygen -k.")
    ] = None,
    approvers: Annotated[
        Path | None,
        typer.Option(help="OpenSSH's file of the keys that may approve; checks signed approvals again."),
    ] = None,
    records: Records = None,
) -> None:
    """Check that the records are unchanged since they were closed; needs no secret."""
    with _reported():
        folder = _folder(records)
        allowed_signers, head_file = _given(allowed_signers), _given(head_file)
        anchors, signed = _anchors(kept_head, head_file), Signatures((), (), ())
        if (allowed_signers is None) != (not identity):
            raise InputError(["--allowed-signers and --identity: give both, or none"])
        if revoked is not None and allowed_signers is None and approvers is None:
            raise InputError(["--revoked: needs --allowed-signers or --approvers"])
        if allowed_signers is not None and identity:
            signed = signed_heads(folder, allowed_signers, identity, _given(revoked))
        problems, notes = list(signed.problems), list(signed.notes)
        if approvers is not None:
            found = signed_approvals(folder, _given(approvers) or approvers, _given(revoked))
            problems += found[0]
            notes += found[1]
        kept = kept_heads(folder)
        # A head that was kept after the chain's present end: the end was removed, or an older copy restored.
        known = {entry.digest for entry in read_chain(folder)[0]}
        lost = [
            Anchor(one.head, f"the head kept elsewhere at {one.at}") for one in kept if one.head not in known
        ]
        report = verify_records(folder, [*anchors, *signed.anchors, *lost], problems)
    for note in notes:
        _line(f"· {note}")
    if kept or (folder / SETTINGS).exists():
        _line(f"· {_age(kept, report)}")
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
    """Export a record as a zip, to attach to a ticket; refused if it contains one of the record's secrets."""
    with _reported():
        folder = _folder(records)
        name = _find(_runs(Chain(folder).entries()), run)
        for reference in export_record(folder, name, out, project_root()):
            _line(f"! not searched for, because it cannot be resolved here: {reference}", "yellow")
        _line(f"Written: {out}")


Reason = Annotated[str, typer.Option(help="The reason, for the records.")]


@app.command()
def close(
    run: Run,
    reason: Reason = "",
    confirm: Annotated[
        str, typer.Option(help="The full run ID, to confirm; with --reason, for a run of another host.")
    ] = "",
    records: Records = None,
) -> None:
    """Close the record of a run that died, with what it left behind; remove one that never opened.

    The record then says who closed it, when and why, and the vendors' present state if it can be read.
    """
    from .batch.pages import write_run_index

    with _reported():
        folder = _folder(records)
        chained = _runs(Chain(folder).entries())
        name = _find([*chained, *unopened(folder, chained)], run)
        if name in chained:
            closing = Closing(
                reason,
                confirm or (_typed(name) if reason.strip() else ""),
                lambda: _at_the_vendors(folder / name),
                write_run_index,
            )
            _line(f"Closed: {name}, {close_dead(folder, folder / name, closing).digest}")
            _renew_index(folder)
            for caution in head_cautions(folder):
                complain(f"Caution: {caution}")
        else:
            remove_unopened(folder, folder / name)
            _line(f"Removed: {name}. Its run died before its record was opened, so it wrote nothing.")


@app.command("adopt")
def adopt_record(
    run: Annotated[str, typer.Argument(help="SITE/TENANT/RUN, or the run's folder.")],
    reason: Reason = "",
    records: Records = None,
) -> None:
    """Enter a run's folder that the chain does not know: from before the register, or after a restore."""
    with _reported():
        folder = _folder(records)
        path = folder / run if is_run(run) else Path(run).absolute()
        if not path.is_dir() or not path.is_relative_to(folder) or not is_run(run_name(folder, path)):
            raise InputError([f"{run}: no run's folder in {folder}"])
        entry = adopt(folder, path, reason)
        _renew_index(folder)
        _line(f"Adopted: {entry.run}, {entry.digest}")


def _typed(name: str) -> str:
    """The run ID that a person types when asked; empty if nobody can be asked."""
    if not sys.stdin.isatty():
        return ""
    return str(typer.prompt(f"Type the run's id to close {name} (needed if its host is another)", default=""))


def _at_the_vendors(run: Path) -> dict[str, Any]:
    """The tenant's present plan after a run that died, if it can be read; never raises an error."""
    from .runbook import Runbook

    opening = read_mapping(run / OPENING)
    files = _mapping(opening.get("files"))
    if opening.get("mode") != "apply":
        return {"read": None, "why_not": "the run wrote nothing"}
    try:
        with Runbook.open(files["site"], files["tenant"]) as runbook:
            if runbook.context.journal.target != opening.get("target"):
                return {"read": None, "why_not": "the parameter files are now for another target"}
            rows = [
                {"section": part.section, **row.covered()}
                for part in runbook.plan().slices
                for row in (*part.changing, *part.stopping)
            ]
    except Exception as error:  # whatever the reason, the record is closed nevertheless
        return {"read": None, "why_not": f"{type(error).__name__}: {error}"}
    return {"read": now(), "not_as_the_parameters_ask": rows}


@app.command()
def policy(
    site: Annotated[Path, typer.Option("--site", "-s", help="The site file with the new policies.")],
    reason: Annotated[str, typer.Option(help="The reason, for the records.")],
    key: Annotated[Path | None, typer.Option(help="SSH key of a previously allowed signer.")] = None,
    allowed_signers: Annotated[
        Path | None, typer.Option(help="The previous file of allowed signers.")
    ] = None,
    records: Records = None,
) -> None:
    """Record a change of a site's policies, which a live run with weaker ones requires."""
    with _reported():
        if (key is None) != (allowed_signers is None):
            raise InputError(["--key and --allowed-signers: give both, or none"])
        root = project_root()
        old = OldSigner(_given(key) or key, _given(allowed_signers) or allowed_signers) if key else None
        the_site = load_site(_given(site) or site, root)
        for entry in change_policy(_folder(records), the_site, root, reason, old):
            _line(f"Entered: {entry.file}, {entry.digest}")
        _renew_index(_folder(records))


@app.command()
def review(
    run: Run,
    remark: Annotated[str, typer.Option(help="The result of the review.")],
    records: Records = None,
) -> None:
    """Record that you have reviewed an emergency run that somebody else made."""
    with _reported():
        folder = _folder(records)
        name = _find(_runs(Chain(folder).entries()), run)
        _line(f"Reviewed: {name}, {review_run(folder, name, remark).digest}")
        _renew_index(folder)


def _renew_index(folder: Path) -> None:
    """Rewrite the page over all records; a failure is a caution, because nothing depends on the page."""
    from .batch.pages import renew_index

    for caution in renew_index(folder):
        complain(f"Caution: {caution}")


@contextmanager
def _reported() -> Iterator[None]:
    """Report an error as every command does, and end with its status."""
    try:
        yield
    except RunbookError as error:
        complain(str(error))
        raise typer.Exit(WRONG_INPUT if isinstance(error, InputError) else FAILED) from None
    except OSError as error:  # not reported elsewhere: a folder that cannot be read, a failing disk
        complain(str(unreadable(error)))
        raise typer.Exit(FAILED) from None


@contextmanager
def _printed() -> Iterator[None]:
    """As ``_reported``, for a command that only prints: without its output it has failed."""
    with _reported():
        yield
        if output_failed():
            raise typer.Exit(FAILED)


def _folder(records: Path | None) -> Path:
    folder = _given(records)
    if folder is not None and not folder.is_dir():
        raise InputError([f"--records: {folder.absolute()} is not a folder"])
    return folder if folder is not None else find_workspace().records


def _given(path: Path | None) -> Path | None:
    """The full path of a file named by an option; unchanged if there is no such file."""
    return path and (locate(path, current_folder(), project_root()) or path)


def _chain(records: Path) -> tuple[list[Entry], list[Problem]]:
    """The readable entries and the chain's problems; an error if no entry can be read."""
    entries, problems = read_chain(records)
    return (entries, problems) if entries else (Chain(records).entries(), problems)


def _state(records: Path, run: str, digests: Mapping[str, str]) -> str:
    """Whether a record is closed, its run is going on, or it died."""
    if CLOSED in digests:
        return CLOSED
    return "going on" if living.is_going_on(records / run) else NOT_ENDED


def _so_far(folder: Path) -> dict[str, Any]:
    """The present content of an open record; empty if its files were replaced."""
    try:
        return record_so_far(folder)
    except (OSError, KeyError, TypeError, AttributeError):
        return {}


def _domains(records: Path, runs: Mapping[str, Mapping[str, str]], tenant: str) -> set[str]:
    """The SIP domains that a tenant of this name has in its own records."""
    own = [read_mapping(records / run / OPENING) for run in runs if run.split("/")[1] == tenant]
    return {
        str(domain)
        for opening in own
        if (domain := _mapping(_mapping(opening.get("parameters")).get("tenant")).get("pbx_domain"))
    }


def _is_of(run: str, opening: Mapping[str, Any], tenant: str, domains: set[str]) -> bool:
    """Whether a run is a tenant's own, or was for a shared trunk that the tenant used."""
    if run.split("/")[1] == tenant:
        return True
    affected = _list(dict(opening), "affected")
    return any({str(one.get("name")), str(one.get("pbx_domain"))} & {tenant, *domains} for one in affected)


def _approved(approver: Mapping[str, Any]) -> str:
    by = _mapping(approver.get("by"))
    return ", ".join(str(by[key]) for key in ("who", "how") if by.get(key))


def _names(by: object) -> str:
    return ", ".join(str(one.get("name")) for one in _list({"by": by}, "by"))


def _runs(entries: Sequence[Entry]) -> list[str]:
    """The runs of the chain, in the order in which they opened."""
    return list(dict.fromkeys(one.run for one in entries if is_run(one.run)))


def _find(runs: Sequence[str], wanted: str, problems: Sequence[Problem] = ()) -> str:
    """Find a run by its whole name, its run id, or the id's beginning."""
    if wanted in runs:
        return wanted
    found = [one for one in runs if wanted and one.rpartition("/")[2].startswith(wanted)]
    if len(found) != 1:
        what = f"{wanted}: {'no record' if not found else f'{len(found)} records'} in the chain"
        if problems:
            _warn(problems)
            raise RecordError(what, next_step="list every problem with: runbook records verify")
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
        raise InputError(["--head, --head-file: contains no head"])
    return [Anchor(line, f"the kept head ({place})") for place, line in kept]


def _show(records: Path, report: Report) -> None:
    for problem in _shown(report.problems):
        _line(f"✗ {problem.path}: {problem.what}", "red")
    _warn_of_clocks(report.entries)
    for run in report.going_on:
        _line(f"· going on: {run}")
    for entry in report.after if report.anchored else ():
        _line(f"· after the kept head: {entry.event} {entry.run}")
    for name in report.older:
        _line(f"· older than the register, unverified: {name}; to enter it: runbook records adopt {name}")
    for name in sorted({*report.unchained, *report.strays} - {*report.reading, *report.older}):
        _line(f"· not in the chain, unverified: {name}{_kind(records / name)}")
    for name in report.unopened:
        _line(f"· never opened, so its run wrote nothing: {name}; to remove it: runbook records close {name}")
    if report.reading:
        count = len(report.reading)
        _line(f"· {count} runs of plan or verify, which are not in the chain: unverified")
    if (records / INDEX).exists():
        _line(f"· {INDEX} is made from the records, and the page itself is unverified")
    _name_events(records, report.entries)
    _name_emergencies(report.unreviewed)
    counts = f"{len(report.records)} closed records, {len(report.entries)} entries in the chain"
    if report.going_on:
        count = len(report.going_on)
        counts = f"{f'{count} runs are' if count > 1 else '1 run is'} going on; {counts}"
    if report.problems:
        _line(f"{report.status}: {len(report.problems)} problems; {counts}", "bold red")
    elif report.anchored is not None:
        vouched = next(one for one in report.anchors if one.digest == report.anchored.digest)
        upto = f"up to entry {report.anchored.seq}, by {vouched.source}"
        if report.after:
            counts += f", of which {len(report.after)} came later and are unverified"
        _line(f"{report.status} {upto}; {counts}", "bold yellow" if report.after else "bold green")
    else:
        _line(f"{report.status}: {counts}", "bold")
        _line("Anyone with write access could have rewritten this. Check it against a head kept elsewhere")
        _line("(--head, --head-file) or the keys that signed one (--allowed-signers, --identity).")


def _shown(problems: Sequence[Problem]) -> list[Problem]:
    """The problems; damage that a transfer did to many files is reported once."""
    by_transfer = (Damage.LINE_ENDS, Damage.POINTER)
    shown = [problem for problem in problems if problem.damage not in by_transfer]
    for damage in by_transfer:
        same = [problem for problem in problems if problem.damage is damage]
        if same:
            more = f" (and {len(same) - 1} more files)" if len(same) > 1 else ""
            shown.append(replace(same[0], path=f"{same[0].path}{more}"))
    return shown


def _name_events(records: Path, entries: Sequence[Entry]) -> None:
    """List changes to policies and approvals, which no record of a run contains."""
    for line in describe_events(records, entries):
        _line(f"· {line}")


def _name_emergencies(runs: Sequence[str]) -> None:
    """List the emergency runs that nobody has reviewed."""
    if runs:
        _line(f"! {len(runs)} emergency runs that nobody has reviewed: {', '.join(runs)}", "yellow")
        _line("  to review one, as another person: runbook records review RUN --remark TEXT")


def _kind(path: Path) -> str:
    """Why a file cannot be read, if so."""
    try:
        if not path.is_dir() or path.is_symlink():
            with opened(path):
                pass
    except OSError as error:
        return f" ({error.strerror})"
    return ""


def _warn(problems: Sequence[Problem]) -> None:
    """Report first, above everything else, what has changed since it was recorded."""
    for problem in problems:
        _line(f"✗ {problem.path}: {problem.what}", "red")
    if problems and not only_newer(problems):
        _line("CHANGED SINCE IT WAS RECORDED: this may not be what was really done.", "bold red")


def _what_of(wrong: Sequence[Problem]) -> str:
    return "by a newer runbook" if only_newer(wrong) else "CHANGED"


def _age(kept: Sequence[Kept], report: Report) -> str:
    if not kept:
        return "no head was kept elsewhere yet"
    newest = max(kept, key=lambda one: one.seq)
    return f"the newest head kept elsewhere is that of entry {newest.seq}, {age_of(newest, report.entries)}"


def _warn_of_clocks(entries: Sequence[Entry]) -> None:
    """List the places where the chain's times go backwards."""
    for what, is_grave in describe_set_back(entries):
        _line(f"{'!' if is_grave else '·'} {what}", "yellow" if is_grave else "")


def _facts(name: str, record: dict[str, Any]) -> None:
    target = _mapping(record.get("target"))
    approver = _mapping(record.get("approver")) or _mapping(record.get("approval"))
    by, runbook = _mapping(approver.get("by")), _mapping(record.get("runbook"))
    approved = [str(by[key]) for key in ("who", "how", "key") if by.get(key)]
    facts = (
        ("Record", name),
        ("Outcome", record.get("outcome")),
        ("Problem", record.get("problem")),
        ("Mode", record.get("mode")),
        ("Target", ", ".join(str(value) for value in target.values())),
        ("Operator", record.get("operator")),
        ("Tenants affected", _names(record.get("affected"))),
        ("Notebook", record.get("notebook")),
        ("Approved", ", ".join([*approved, *([str(approver["plan"])] if approver.get("plan") else [])])),
        ("Ticket", record.get("ticket")),
        ("Reason", record.get("reason")),
        ("Emergency", record.get("emergency")),
        ("Started (UTC)", record.get("started")),
        ("Ended (UTC)", record.get("ended")),
        ("Clock", "; ".join(clock_cautions(record.get("clocks"), "was"))),
        ("Runbook", f"{runbook.get('version')} {runbook.get('source')}"),
    )
    for label, value in facts:
        if value:
            screen.print(Text.assemble((f"{label:<16} ", "bold"), _text(value)), soft_wrap=True)


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
    """A list of mappings; tolerates any content."""
    found = record.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> Text:
    return Text("" if value is None else visible(str(value)))


def _line(text: str, style: str = "") -> None:
    screen.print(Text(visible(text), style=style), soft_wrap=True)
