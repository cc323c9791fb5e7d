"""``runbook records head``, ``verify`` and ``sign``: whether the records hold, and what proves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...errors import InputError, RunbookError
from ...outcomes import ExitStatus
from ...plain_files import opened
from ...records.anchor import ANCHORS, SETTINGS, Kept, age_of, kept_heads
from ...records.approvals import signed_approvals
from ...records.chain import Chain
from ...records.chain_reading import is_head, read_chain
from ...records.problems import Anchor, Code, Problem, Report, unread_problem
from ...records.signatures import Signatures, sign_head, signed_heads
from ...records.verify import INDEX, Openings, verify_records
from ...screen import screen
from .common import (
    Records,
    app,
    chosen_records,
    given,
    line,
    name_emergencies,
    name_events,
    print_json,
    printed,
    reported,
    warn_of_clocks,
)


@app.command()
def head(records: Records = None) -> None:
    """Print the head of the chain, so that you can keep it outside the records folder."""
    with printed():
        digest = Chain(chosen_records(records)).head
        if digest is None:
            raise RunbookError("there is no record yet", next_step="make one with: runbook apply")
        screen.print(Text(digest), soft_wrap=True)


@app.command()
def verify(
    kept_head: Annotated[
        str | None, typer.Option("--head", help="A head that was kept elsewhere: sha256:….")
    ] = None,
    head_file: Annotated[
        Path | None,
        typer.Option(
            help="File of heads that were kept elsewhere, one per line; lines that begin with # are comments."
        ),
    ] = None,
    allowed_signers: Annotated[
        Path | None, typer.Option(help="OpenSSH's file of the keys that may sign heads.")
    ] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            help="Whose signature counts: a name in that file. If given several times, any of them is enough."
        ),
    ] = None,
    revoked: Annotated[
        Path | None,
        typer.Option(help="Keys that never count: a file of public keys, or one made by ssh-keygen -k."),
    ] = None,
    approvers: Annotated[
        Path | None,
        typer.Option(help="OpenSSH's file of the keys that may approve, instead of those in each record."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="A head up to which you have already verified everything: check only what came after it."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print as JSON; see the page on the format.")
    ] = False,
    records: Records = None,
) -> None:
    """Check whether the records are unchanged since they were closed; needs no secret."""
    with reported():
        folder = chosen_records(records)
        allowed_signers, head_file = given(allowed_signers), given(head_file)
        chain = read_chain(folder)
        anchors, signed = _anchors(kept_head, head_file), Signatures((), (), ())
        if since is not None and not is_head(since):
            raise InputError(["--since: not a head (sha256: and 64 hexadecimal digits)"])
        if (allowed_signers is None) != (not identity):
            raise InputError(["--allowed-signers and --identity: give both or neither"])
        if revoked is not None and allowed_signers is None and approvers is None:
            raise InputError(["--revoked: can be given only with --allowed-signers or --approvers"])
        if allowed_signers is not None and identity:
            signed = signed_heads(folder, chain[0], allowed_signers, identity, given(revoked))
        problems, notes = list(signed.problems), list(signed.notes)
        try:
            kept = kept_heads(folder)
        except OSError as error:
            kept = []
            problems.append(unread_problem(ANCHORS, error))
        # A head that was kept after the chain's present end: the end was removed, or an older one put back.
        known = {entry.digest for entry in chain[0]}
        lost = [
            Anchor(one.head, f"the head kept elsewhere at {one.at}") for one in kept if one.head not in known
        ]

        def judge(openings: Openings) -> list[Problem]:
            found, noted = signed_approvals(
                folder, chain[0], given(approvers), given(revoked), since, openings
            )
            notes.extend(noted)
            return found

        report = verify_records(folder, [*anchors, *signed.anchors, *lost], problems, since, judge, chain)
    if kept or (folder / SETTINGS).exists():
        notes.append(_age(kept, report))
    if as_json:
        print_json(report.to_data(notes))
    else:
        for note in notes:
            line(f"· {note}")
        _show(folder, report)
    if report.problems:
        raise typer.Exit(ExitStatus.FAILED)


@app.command()
def sign(
    key: Annotated[Path, typer.Option(help="Your SSH key.")],
    records: Records = None,
) -> None:
    """Sign the head of the chain with an SSH key."""
    with reported():
        line(f"Signed: {sign_head(chosen_records(records), given(key) or key)}")


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
    for problem in _shown(report.problems):
        line(f"✗ {problem.path}: {problem.what}", "red")
    warn_of_clocks(report.entries)
    for run in report.going_on:
        line(f"· going on: {run}")
    for entry in report.after if report.anchored else ():
        line(f"· after the kept head: {entry.event} {entry.run}")
    if report.skipped:
        count = len(report.skipped)
        line(
            f"! not checked: the files of {count} records that were already closed at the head to start from",
            "yellow",
        )
    if report.removed:
        line(f"· removed by rule: {len(report.removed)} records; runbook records list shows which")
    for name in report.older:
        line(f"· older than the register, unverified: {name}; to enter it: runbook records adopt {name}")
    for name in sorted({*report.unchained, *report.strays} - {*report.reading, *report.older}):
        line(f"· not in the chain, unverified: {name}{_kind(records / name)}")
    for name in report.unopened:
        line(f"· never opened, so its run wrote nothing: {name}; to remove it: runbook records close {name}")
    if report.reading:
        count = len(report.reading)
        line(f"· {count} runs of plan or verify, which are not in the chain: unverified")
    if (records / INDEX).exists():
        line(f"· {INDEX} is made from the records; the page itself is unverified")
    name_events(records, report.entries)
    name_emergencies(report.unreviewed)
    counts = f"{len(report.records)} closed records, {len(report.entries)} entries of the chain"
    if report.going_on:
        count = len(report.going_on)
        counts = f"{f'{count} runs are' if count > 1 else '1 run is'} going on; {counts}"
    if report.problems:
        line(f"{report.status}: {len(report.problems)} problems; {counts}", "bold red")
    elif report.anchored is not None:
        vouched = next(one for one in report.anchors if one.digest == report.anchored.digest)
        upto = f"up to entry {report.anchored.seq}, by {vouched.source}"
        if report.after:
            counts += f", of which {len(report.after)} came after and are unverified"
        line(f"{report.status} {upto}; {counts}", "bold yellow" if report.after else "bold green")
    else:
        line(f"{report.status}: {counts}", "bold")
        line("Anyone who can write here could have rewritten all of it. Give a head that was kept")
        line("elsewhere (--head, --head-file) or the keys that signed one (--allowed-signers, --identity).")


def _shown(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, with what a transfer made of many files shown once."""
    by_transfer = (Code.LINE_ENDS, Code.POINTER)
    shown = [problem for problem in problems if problem.code not in by_transfer]
    for code in by_transfer:
        same = [problem for problem in problems if problem.code is code]
        if same:
            more = f" (and {len(same) - 1} more files)" if len(same) > 1 else ""
            shown.append(replace(same[0], path=f"{same[0].path}{more}"))
    return shown


def _kind(path: Path) -> str:
    """What is in a file's place, if it is not a file that can be read."""
    try:
        if not path.is_dir() or path.is_symlink():
            with opened(path):
                pass
    except OSError as error:
        return f" ({error.strerror})"
    return ""


def _age(kept: Sequence[Kept], report: Report) -> str:
    if not kept:
        return "no head was kept elsewhere yet"
    newest = max(kept, key=lambda one: one.seq)
    return f"the newest head kept elsewhere is that of entry {newest.seq}, {age_of(newest, report.entries)}"
