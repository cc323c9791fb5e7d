"""Pages that anybody can read: an HTML of each executed notebook, and indexes over runs.

A page contains everything that it needs. Its content security policy forbids scripts and all requests,
so that text from a vendor has no effect, and reading a record notifies nobody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter
from papermill.execute import ERROR_MARKER_TAG
from traitlets.config import Config

from ..guide import SECTIONS
from ..notebook.display import Box, Shown, escaped
from ..notebook.tables import first_block_shown
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED, UNKNOWN
from ..plain_files import read_mapping, write_whole
from ..records import living
from ..records.chain import CLOSED, Entry
from ..records.clocks import runs_in_order
from ..records.disposed import DISPOSED_FILE
from ..records.first_block import first_block
from ..records.record import OPENING, RECORD, RUN
from ..records.reviews import describe_events, unreviewed
from ..records.summary import NOT_ENDED
from ..records.verify import INDEX, by_event, is_run, read_chain, run_folders
from ..secret import scrub
from .batch_file import Batch, Part

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --ground: #ffffff; --soft: #f6f8fa; --line: #d0d7de;
  --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --ground: #14171a; --soft: #1f2428;
  --line: #3b424a; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--ground);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 8px 24px 48px; }
.banner { padding: 6px 24px; color: #fff; font-weight: 700; print-color-adjust: exact; }
.sandbox { background: #1f5f99; } .live { background: #b3152b; } .none { background: #57606a; }
nav { padding: 10px 24px 0; max-width: 1120px; margin: 0 auto; font-size: 14px; }
a { color: var(--link); }
h1 { font-size: 26px; line-height: 1.25; margin: 18px 0 8px; } h2 { font-size: 20px; margin: 28px 0 6px; }
h3 { font-size: 16px; margin: 20px 0 4px; }
blockquote { margin: 8px 0; padding: 4px 14px; border-left: 4px solid #9a6700; background: var(--soft); }
blockquote p { margin: 4px 0; }
code { background: var(--soft); padding: 1px 4px; border-radius: 3px; font-size: 13px; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; line-height: 1.45; }
.input { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: 6px 10px;
  margin: 10px 0 4px; opacity: .85; }
.output_error { border: 2px solid #cf222e; border-radius: 4px; padding: 8px 12px; margin: 8px 0; }
.ansi-bold { font-weight: 700; } .ansi-red-fg, .ansi-red-intense-fg { color: #cf222e; }
.list { border-collapse: collapse; width: 100%; margin: 10px 0; font-size: 14px; }
.list th, .list td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.list th { white-space: nowrap; }
.list td.number, .list th.number { text-align: right; white-space: nowrap; }
.mark { border-radius: 3px; padding: 1px 7px; color: #fff; font-weight: 600; white-space: nowrap;
  print-color-adjust: exact; }
.succeeded { background: #1a7f37; } .failed { background: #cf222e; } .other { background: #57606a; }
.dim { opacity: .75; font-size: 13px; }
@page { margin: 14mm; }
@media print { nav { display: none; } main { max-width: none; padding: 0; } tr { break-inside: avoid; }
  :root { --ink: #000; --ground: #fff; --soft: #f6f8fa; --line: #ccc; } }
"""
_BANNERS = {
    "sandbox": "SANDBOX: both vendors are simulated; this is not a real telephone service",
    "live": "LIVE: made on a real Twilio account and a real PBX",
}
_SYMBOLS = {SUCCEEDED: "✓", FAILED: "✗"}


def prepare() -> None:
    """Load what makes pages of notebooks, so that copies of this process have it."""
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(""), nbformat.v4.new_code_cell("")])
    _exporter().from_notebook_node(empty)


def write_page(notebook: Path) -> Path:
    """Write the HTML of an executed notebook beside it, and return its path."""
    content = nbformat.read(notebook, as_version=4)
    # The remains of controls mean nothing without a kernel.
    content.metadata.pop("widgets", None)
    content.cells = [cell for cell in content.cells if ERROR_MARKER_TAG not in cell.metadata.get("tags", [])]
    body, _ = _exporter().from_notebook_node(content)
    body = body.replace('.ipynb">', '.html">')
    section = notebook.stem[:2]
    result = read_mapping(notebook.parent / f"{section}.result.json")
    status = content.metadata.get("runbook", {}).get("status", UNKNOWN)
    if status != SUCCEEDED:
        body = _stopped(status, result).html() + body
    title = f"{section} {SECTIONS[section].title}" if section in SECTIONS else notebook.stem
    if result.get("tenant"):
        title += f" · {result['tenant']}"
    return _write(
        notebook.with_suffix(".html"),
        title,
        result.get("target", {}).get("target", ""),
        body,
        '<a href="index.html">All sections of this run</a>',
    )


def write_run_index(folder: Path) -> Path:
    """Write ``index.html`` over one run's folder, and return its path."""
    run = read_mapping(folder / "run.json")
    rows = [
        [
            escaped(one["section"]),
            _notebook_link(one),
            _outcome(one["outcome"])
            + (f'<div class="dim">{escaped(one["message"])}</div>' if one["message"] else ""),
            str(one["changes"]),
            str(one["writes"]),
            f"{one['seconds']:.1f}",
        ]
        for one in run["sections"]
    ]
    target, record = run["target"], read_mapping(folder / RECORD)
    facts = [
        ("Site", run["site"]),
        ("Twilio account", target.get("twilio_account", "")),
        ("PBX", target.get("pbx", "")),
        ("Mode", run["mode"]),
        ("Started (UTC)", run["started"]),
        ("Ended (UTC)", run["ended"]),
        ("Run", run["run_id"]),
        *_who_and_why(record),
    ]
    first = first_block_shown(first_block(record)).html() if record else ""
    lines = run.get("problem", "").splitlines()
    problem = Box("stop", lines[0], tuple(lines[1:])).html() if lines else ""
    body = (
        f"<h1>{escaped(run['tenant'])}</h1><p>{_outcome(run['outcome'])}</p>{first}{problem}{_facts(facts)}"
        f"{_list(('Section', 'Executed notebook', 'Outcome', '#Changes', '#Writes', '#Seconds'), rows)}"
        f"<p>Beside the notebooks: {_file_links(folder)}</p>"
    )
    # No link to the page over all records: a copy of this one would lead out of itself.
    return _write(
        folder / "index.html",
        f"{run['tenant']} · {run['run_id']}",
        target.get("target", ""),
        body,
        "",
    )


def write_batch_page(batch: Batch) -> Path:
    """Write the page over one batch, and return its path."""
    rows = [
        [
            _run_link(part) or escaped(part.tenant or part.file),
            _outcome(part.outcome or "not begun"),
            str(part.changes),
            str(part.writes),
            f"{part.seconds:.1f}",
            escaped(" ".join(part.cause)),
        ]
        for part in batch.parts
    ]
    done = len(batch.parts) - len(batch.left)
    facts = [
        ("Mode", batch.mode),
        ("Began (UTC)", batch.began),
        ("Resumed (UTC)", ", ".join(batch.resumed)),
        ("Ended (UTC)", batch.ended or ""),
        ("Succeeded", f"{done} of {len(batch.parts)}"),
        *((name.removeprefix("RUNBOOK_").capitalize(), text) for name, text in batch.environment.items()),
    ]
    left = Box("caution", "Not all tenants have succeeded.", (f"To resume: {batch.resume_command}",))
    body = (
        f"<h1>Batch {escaped(batch.id)}</h1>{left.html() if batch.left else ''}{_facts(facts)}"
        f"{_list(('Tenant', 'Outcome', '#Changes', '#Writes', '#Seconds', 'Cause'), rows)}"
        '<p><a href="../../index.html">All records</a></p>'
    )
    return _write(batch.page, f"Batch {batch.id}", batch.target, body, "")


def _run_link(part: Part) -> str:
    if not part.runs:
        return ""
    return f'<a href="../../{escaped(part.runs[-1])}/{INDEX}">{escaped(part.tenant)}</a>'


def _who_and_why(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Operator, approver, ticket and reason of a record, if present."""
    affected = ", ".join(str(one.get("name")) for one in record.get("affected") or ())
    facts = [
        ("Operator", record.get("operator")),
        ("Approved or confirmed by", _approver(record.get("approver"))),
        ("Tenants affected", affected),
        ("Ticket", record.get("ticket")),
        ("Reason", record.get("reason")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _approver(approver: Mapping[str, Any] | None) -> str:
    by = (approver or {}).get("by") or {}
    return ", ".join(str(by[key]) for key in ("who", "how", "key") if by.get(key))


def write_index(records: Path) -> Path:
    """Write ``index.html`` over the whole records folder, newest run first, and return its path.

    Every run opened in the chain has a line, even if nothing else is left of it; unchained runs of plan or
    verify are shown from their folders.
    """
    entries, _ = read_chain(records)
    chained = {run: digests for run, digests in by_event(entries).items() if is_run(run)}
    names = reversed(runs_in_order(entries, sorted({*chained, *run_folders(records)})))
    openings = {run: read_mapping(records / run / OPENING) for run in chained}
    rows = [_run_row(records / name, name, chained.get(name), openings.get(name, {})) for name in names]
    runs = [row for row in rows if row is not None]
    targets = {target for target, _ in runs}
    columns = (
        "Run",
        "Site",
        "Tenant",
        "Target",
        "Mode",
        "Outcome",
        "Approval",
        "Sections",
        "#Writes",
    )
    body = (
        f"<h1>Records</h1>{_to_look_at(records, entries, openings)}<p>{len(runs)} runs, newest first.</p>"
        f"{_list(columns, [row for _, row in runs])}"
    )
    target = "sandbox" if targets == {"sandbox"} else ""
    records.mkdir(parents=True, exist_ok=True)
    return _write(records / INDEX, "Records", target, body, "")


def renew_index(records: Path) -> list[str]:
    """Rewrite the page over all records; return cautions if that fails."""
    try:
        write_index(records)
    except Exception as error:  # the finished work is not affected
        return [scrub(f"the page over all records was not written ({type(error).__name__}: {error})")]
    return []


def _to_look_at(records: Path, entries: Sequence[Entry], openings: Mapping[str, Mapping[str, Any]]) -> str:
    """What another person should check: unreviewed emergency runs, changes of policy."""
    parts = []
    if runs := unreviewed(entries, openings):
        how = "To review one, as another person: runbook records review RUN --remark TEXT"
        title = f"Emergency runs that nobody has reviewed: {len(runs)}"
        parts.append(Box("caution", title, (*runs, how)).html())
    if changes := describe_events(records, entries):
        parts.append(Box("caution", "Changes of policies and approvals", tuple(changes)).html())
    return "".join(parts)


def _run_row(
    folder: Path, name: str, chained: Mapping[str, str] | None, opening: Mapping[str, Any]
) -> tuple[str, list[str]] | None:
    """A run's target and its cells; ``None`` for a folder in which no run left anything to show.

    ``chained`` has what the chain knows about it: its opening, and its closing if there is one.
    """
    try:
        paths = sorted(folder.glob("*.result.json"))
        if not paths and not os.path.lexists(folder / RUN) and chained is None:
            return None
        run = read_mapping(folder / RUN)
        results = [result for path in paths if (result := read_mapping(path))]
        if len(results) == len(paths) and (run or not os.path.lexists(folder / RUN)):
            return _row_of(folder, name, run, results, chained, opening)
    except Exception:  # noqa: S110 - its files were changed by somebody: other runs keep their lines
        pass
    cells = map(escaped, (folder.name, *name.split("/")[:2], UNKNOWN, ""))
    return UNKNOWN, [*cells, _outcome("cannot be read: runbook records verify"), "", "", ""]


def _row_of(
    folder: Path,
    name: str,
    run: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    chained: Mapping[str, str] | None,
    opening: Mapping[str, Any],
) -> tuple[str, list[str]]:
    first = results[0] if results else {}
    target = (run.get("target") or first.get("target") or opening.get("target") or {}).get(
        "target", "unknown"
    )
    sections = " ".join(
        f"{escaped(one['section'])}&nbsp;{_SYMBOLS.get(one['outcome'], '·')}"
        for one in run.get("sections", results)
    )
    link = escaped(folder.name)
    if os.path.lexists(folder / INDEX):
        link = f'<a href="{escaped(f"{name}/{INDEX}")}">{link}</a>'
    writes = sum(one.get("writes", 0) for one in results or run.get("sections", ()))
    outcome = run.get("outcome") or (
        FAILED if any(one["outcome"] == FAILED for one in results) else "single sections"
    )
    if os.path.lexists(folder / DISPOSED_FILE):
        outcome = "removed by rule"
    elif chained is not None and CLOSED not in chained:
        outcome = "going on" if living.is_going_on(folder) else NOT_ENDED
    cells = [*name.split("/")[:2], target, run.get("mode") or first.get("mode") or opening.get("mode", "")]
    approved = {"by": first["approved_by"]} if first.get("approved_by") else opening.get("approval")
    end = [_outcome(outcome), escaped(_approver(approved)), sections, str(writes)]
    return target, [link, *map(escaped, cells), *end]


@cache
def _exporter() -> HTMLExporter:
    config = Config()
    # A record is read without a kernel, so a control is shown as the text that comes with it.
    config.NbConvertBase.display_data_priority = ["text/html", "image/svg+xml", "text/markdown", "text/plain"]
    return HTMLExporter(
        config=config,
        template_name="basic",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )


def page_of(title: str, target: str, parts: Sequence[Shown]) -> bytes:
    """Return a page of its own, with no link out of it: what a copy of a record is."""
    body = f"<h1>{escaped(title)}</h1>" + "".join(part.html() for part in parts)
    return _page(title, target, body, "").encode()


def _write(path: Path, title: str, target: str, body: str, navigation: str) -> Path:
    write_whole(path, _page(title, target, body, navigation).encode())
    return path


def _page(title: str, target: str, body: str, navigation: str) -> str:
    banner = f'<div class="banner {target}">{_BANNERS[target]}</div>' if target in _BANNERS else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>"
        f"{banner}<nav>{navigation}</nav><main>{body}</main></body></html>\n"
    )


def _list(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    """A table of HTML cells; a column whose name starts with # has numbers."""
    kinds = [' class="number"' if name.startswith("#") else "" for name in columns]
    head = "".join(
        f'<th scope="col"{kind}>{escaped(name.lstrip("#"))}</th>'
        for name, kind in zip(columns, kinds, strict=True)
    )
    lines = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def _stopped(status: str, result: dict[str, Any]) -> Box:
    """The box above a notebook that did not finish, instead of papermill's own marks."""
    what = (result.get("error") or {}).get(
        "what"
    ) or "No result was written: the kernel ended before it could."
    title = {FAILED: "This section failed.", INTERRUPTED: "This section was interrupted."}.get(status)
    return Box("stop", title or "It is unknown how this section ended.", (what,))


def _facts(pairs: list[tuple[str, str]]) -> str:
    items = "".join(
        f'<tr><th scope="row">{escaped(label)}</th><td>{escaped(value)}</td></tr>'
        for label, value in pairs
        if value
    )
    return f'<table class="list" style="width:auto"><tbody>{items}</tbody></table>'


def _outcome(outcome: str) -> str:
    kind = outcome if outcome in _SYMBOLS else "other"
    return f'<span class="mark {kind}">{_SYMBOLS.get(outcome, "·")} {escaped(outcome)}</span>'


def _notebook_link(section: dict[str, Any]) -> str:
    if not section["notebook"]:
        return escaped(section["title"])
    stem = section["notebook"].removesuffix(".ipynb")
    return (
        f'<a href="{escaped(stem)}.html">{escaped(section["title"])}</a> '
        f'<a class="dim" href="{escaped(stem)}.ipynb">.ipynb</a>'
    )


def _file_links(folder: Path) -> str:
    names = sorted(path.name for path in (*folder.glob("*.jsonl"), *folder.glob("*.json")))
    return ", ".join(f'<a href="{escaped(name)}">{escaped(name)}</a>' for name in names)
