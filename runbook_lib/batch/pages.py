"""Pages that anybody can read: an HTML of each executed notebook, and indexes over runs; see ``frame``."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter, TemplateExporter
from nbconvert.exporters.html import contextfilter
from nbconvert.filters import DataTypeFilter, Highlight2HTML, clean_html
from papermill.execute import ERROR_MARKER_TAG
from traitlets.config import Config

from ..call_paths import call_paths, settings_in_record
from ..errors import cause_in_words
from ..guide import RUN_ORDER, SECTIONS, WHOLE
from ..notebook.diagrams import path_states
from ..notebook.display import Box, Shown, broken, escaped
from ..notebook.tables import first_block_shown
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED, UNKNOWN
from ..plain_files import read_mapping
from ..product import NOTEBOOKS
from ..records.first_block import first_block, mapping, mappings, moment
from ..records.run_folder import OPENING, RECORD
from ..records.verify import INDEX
from ..secret import scrub
from ..words import counted
from .batch_file import Batch, Part
from .frame import facts_table, mark, page, table, time_cell, write_html
from .overview import overview


def prepare() -> None:
    """Check and render the sections' notebooks, so that copies of this process have what that takes."""
    for name in (*(SECTIONS[section].notebook for section in RUN_ORDER), WHOLE):
        path = NOTEBOOKS / f"{name}.ipynb"
        _exporter().from_notebook_node(nbformat.read(path, as_version=4))


def write_page(notebook: Path) -> Path:
    """Write the HTML of an executed notebook beside it, and return its path."""
    content = nbformat.reader.reads(notebook.read_text("utf-8"))
    # The remains of controls mean nothing without a kernel.
    content.metadata.pop("widgets", None)
    content.cells = [cell for cell in content.cells if ERROR_MARKER_TAG not in cell.metadata.get("tags", [])]
    root = mapping(read_mapping(notebook.parent / OPENING)).get("workspace")
    show_parameters_once(content, Path(root) if isinstance(root, str) else None)
    body, _ = _exporter().from_notebook_node(content)
    body = body.replace('.ipynb">', '.html">')
    body = re.sub(r"<blockquote>(?=\s*<p>⚠)", '<blockquote class="warning">', body)
    section = notebook.stem[:2] if notebook.stem != WHOLE else "*"
    results = [read_mapping(path) for path in sorted(notebook.parent.glob(f"{section}.result.json"))]
    result: dict[str, Any] = next((one for one in results if one.get("error")), results[0] if results else {})
    status = content.metadata.get("runbook", {}).get("status", UNKNOWN)
    if status != SUCCEEDED:
        body = _stopped(status, result).html() + body
    title = f"{section} {SECTIONS[section].title}" if section in SECTIONS else "The whole tenant"
    if result.get("tenant"):
        title += f" · {result['tenant']}"
    return write_html(
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
            escaped(part["section"]),
            _notebook_link(part),
            mark(part["outcome"]) + (_note(part["message"]) if part["message"] else ""),
            str(part["changes"]),
            str(part["writes"]),
            f"{part['seconds']:.1f}",
        ]
        for part in run["sections"]
    ]
    target, record = run["target"], read_mapping(folder / RECORD)
    first = first_block_shown(first_block(record)).html() if record else ""
    pairs = [
        ("Site", run["site"]),
        ("Twilio account", target.get("twilio_account", "")),
        ("PBX", target.get("pbx", "")),
        ("Mode", run["mode"]),
        ("Started (UTC)", run["started"]),
        ("Ended (UTC)", run["ended"]),
        ("Run", run["run_id"]),
        *([("Batch", str(record["batch"]))] if record.get("batch") else []),
        *_who_and_why(record),
    ]
    sections = table(
        ("Section", "Executed notebook", "Outcome", "#Changes", "#Writes", "#Seconds"), rows, name="Sections"
    )
    body = (
        f"<h1>{escaped(run['tenant'])}</h1><p>{mark(run['outcome'])}</p>{_ended_early(run, record)}{first}"
        f"{facts_table(pairs)}<h2>Sections</h2>{sections}{_journal(record)}{_call_paths(record)}"
        f"<p>Beside the notebooks: {_file_links(folder)}</p>"
    )
    # No link to the page over all records: a copy of this one would lead out of itself.
    return write_html(folder / INDEX, f"{run['tenant']} · {run['run_id']}", target.get("target", ""), body)


def _ended_early(run: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """What to know of a run that did not complete, before anything else."""
    said = str(run.get("problem") or "").splitlines()
    if run["outcome"] != INTERRUPTED:
        return Box("stop", said[0], tuple(said[1:])).html() if said else ""
    sent = len(mappings(record, "changes"))
    lines = [
        f"{counted(sent, 'write')} had been sent by then, listed in the journal below.",
        *(
            f"No answer was received to {lost.get('vendor')} {lost.get('method')} for "
            f"{lost.get('resource')}: it is unknown whether it was carried out."
            for lost in mappings(record, "in_flight")
        ),
        "Run it again: it reads the current state first, and completes what is missing.",
    ]
    return Box("stop", "This run was interrupted before it completed.", tuple(lines)).html()


def _journal(record: Mapping[str, Any]) -> str:
    """Every write of a run: when, for which step, to what, and what the vendor answered."""
    changes = mappings(record, "changes")
    if not changes:
        return "<h2>Journal</h2><p>Nothing was written.</p>" if record else ""
    rows = []
    for change in changes:
        steps = dict.fromkeys(str(row.get("step")) for row in mappings(change, "rows"))
        answer = change.get("status")
        status = escaped(str(answer)) if answer is not None else escaped("no answer")
        if change.get("error"):
            status += _note(str(change["error"]))
        request = f"{change.get('vendor')} {change.get('method')}"
        rows.append(
            [
                time_cell(moment(change.get("sent")).removesuffix(" UTC")),
                escaped(", ".join(steps)),
                f"{broken(str(change.get('resource')))}{_note(str(change.get('path')))}",
                broken(request),
                status,
                _request_id(change),
            ]
        )
    columns = ("Time (UTC)", "Step", "Resource", "Request", "Status", "Vendor's request id")
    return f"<h2>Journal ({len(rows)})</h2>{table(columns, rows, name='Journal of writes')}"


def _note(text: str) -> str:
    return f'<div class="dim">{"<br>".join(broken(line) for line in text.splitlines())}</div>'


def _call_paths(record: Mapping[str, Any]) -> str:
    """The path of calls as the run found it and as it left it; only for runs through all sections."""
    order = record.get("order")
    if not isinstance(order, list) or not {*RUN_ORDER} <= {*order}:
        return ""
    found = call_paths(settings_in_record(mappings(record, "before")))
    left = call_paths(settings_in_record(mappings(record, "after")))
    is_read_back = any(part.get("ok") is not None for part in mappings(record, "verification"))
    pictures = []
    for before, after in zip(found, left, strict=True):
        further = (("As the run left it", after),) if is_read_back else ()
        pictures.append(path_states(("As the run found it", before), *further).html())
    return f"<h2>The path of calls</h2>{''.join(pictures)}"


def _request_id(change: Mapping[str, Any]) -> str:
    if change.get("request_id"):
        return f"<code>{broken(str(change['request_id']))}</code>"
    return '<span class="dim">none given</span>' if change.get("status") is not None else ""


def write_batch_page(batch: Batch) -> Path:
    """Write the page over one batch, and return its path."""
    rows = [
        [
            _run_links(part) or escaped(part.tenant or part.file),
            mark(part.outcome or "not started"),
            str(part.changes),
            str(part.writes),
            f"{part.seconds:.1f}",
            broken(cause_in_words(part.cause)),
        ]
        for part in batch.parts
    ]
    done = len(batch.parts) - len(batch.left)
    about = [
        ("Mode", batch.mode),
        ("Began (UTC)", batch.began),
        ("Resumed (UTC)", ", ".join(batch.resumed)),
        ("Ended (UTC)", batch.ended or ""),
        ("Succeeded", f"{done} of {len(batch.parts)}"),
        *((name.removeprefix("RUNBOOK_").capitalize(), text) for name, text in batch.environment.items()),
    ]
    left = Box("caution", "Not all tenants have succeeded.", (f"To resume: {batch.resume_command}",))
    body = (
        f"<h1>Batch {escaped(batch.id)}</h1>{left.html() if batch.left else ''}{facts_table(about)}"
        f"{table(('Tenant', 'Outcome', '#Changes', '#Writes', '#Seconds', 'Cause'), rows, name='Tenants')}"
        '<p><a href="../../index.html">All records</a></p>'
    )
    return write_html(batch.page, f"Batch {batch.id}", batch.target, body)


def _run_links(part: Part) -> str:
    """Links to the pages of a tenant's latest run and, dimmed, of those that were resumed."""
    if not part.runs:
        return ""
    *earlier, latest = [f"../../{escaped(run)}/{INDEX}" for run in part.runs]
    others = "".join(
        f' <a class="dim" href="{page}">run {place}</a>' for place, page in enumerate(earlier, 1)
    )
    return f'<a href="{latest}">{escaped(part.tenant)}</a>{others}'


def _who_and_why(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Operator, approver, ticket and reason of a record, if present."""
    affected = ", ".join(str(one.get("name")) for one in record.get("affected") or ())
    approver = mapping(record.get("approver"))
    pairs = [
        ("Operator", record.get("operator")),
        ("Approved or confirmed by", _approver(approver)),
        ("Approved at", mapping(approver.get("by")).get("at")),
        ("Digest of the plan", approver.get("plan")),
        ("Tenants affected", affected),
        ("Ticket", record.get("ticket")),
        ("Reason", record.get("reason")),
    ]
    return [(name, str(value)) for name, value in pairs if value]


def _approver(approver: Mapping[str, Any] | None) -> str:
    by = (approver or {}).get("by") or {}
    return ", ".join(str(by[key]) for key in ("who", "how", "key") if by.get(key))


def write_index(records: Path) -> Path:
    """Write ``index.html`` over the whole records folder, newest run first, and return its path."""
    body, target = overview(records)
    records.mkdir(parents=True, exist_ok=True)
    return write_html(records / INDEX, "Records", target, body)


def renew_index(records: Path) -> list[str]:
    """Rewrite the page over all records; return cautions if that fails."""
    try:
        write_index(records)
    except Exception as error:  # the finished work is not affected
        return [scrub(f"the page over all records was not written ({type(error).__name__}: {error})")]
    return []


#: How nbconvert makes pages of notebooks.
PAGE_OPTIONS: Mapping[str, Any] = {
    "template_name": "basic",
    "exclude_input_prompt": True,
    "exclude_output_prompt": True,
    "exclude_anchor_links": True,
}


#: What pages of notebooks are made of is mostly the same in every tenant's.
_highlighted, _cleaned = lru_cache(500)(Highlight2HTML()), lru_cache(500)(clean_html)


@lru_cache(500)
def _rendered(exporter: HTMLExporter, source: str) -> str:
    return str(HTMLExporter.markdown2html(exporter, {}, source))


class _PageExporter(HTMLExporter):
    """nbconvert's exporter without its last pass, which takes half of the time of a page.

    That parses the whole page again to let the keyboard reach the cells of JupyterLab's own template, which
    we do not use, and to name images, which our notebooks do not show.
    """

    @contextfilter
    def markdown2html(self, context: Any, source: str) -> str:
        """Return a cell's text as HTML; only one with attached images depends on more than its text."""
        has_images = context.get("cell", {}).get("attachments")
        return str(super().markdown2html(context, source)) if has_images else _rendered(self, source)

    def from_notebook_node(  # type: ignore[override]  # as HTMLExporter has it
        self, nb: nbformat.NotebookNode, resources: dict[str, Any] | None = None, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return the notebook as HTML."""
        self.register_filter("highlight_code", lambda source, metadata: _highlighted(source))
        self.register_filter("clean_html", _cleaned)
        self.register_filter("filter_data_type", DataTypeFilter(parent=self))
        body, found = TemplateExporter.from_notebook_node(self, nb, resources, **options)
        return (body, found) if "<img" not in body else super().from_notebook_node(nb, resources, **options)


@cache
def _exporter() -> HTMLExporter:
    config = Config()
    # A record is read without a kernel, so a control is shown as the text that comes with it.
    config.NbConvertBase.display_data_priority = ["text/html", "image/svg+xml", "text/markdown", "text/plain"]
    # Each of them would look at the whole notebook, and at nothing that our pages have.
    config.Exporter.default_preprocessors = []
    return _PageExporter(config=config, **PAGE_OPTIONS)


def page_of(title: str, target: str, parts: Sequence[Shown]) -> bytes:
    """Return a self-contained page, without links to other files: the form in which a record is copied."""
    body = f"<h1>{escaped(title)}</h1>" + "".join(part.html() for part in parts)
    return page(title, target, body).encode()


def _stopped(status: str, result: dict[str, Any]) -> Box:
    """The box above a notebook that did not finish, instead of papermill's own marks."""
    what = (result.get("error") or {}).get("what") or "No result was written: the kernel ended first."
    title = {FAILED: "This section failed.", INTERRUPTED: "This section was interrupted."}.get(status)
    return Box("stop", title or "It is unknown how this section ended.", (what,))


def show_parameters_once(notebook: Any, root: Path | None) -> None:
    """Put one cell of parameters, with the values that were used, in the place of defaults and injected ones.

    Paths start at the workspace ``root``.
    """
    cells = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", ())}
    defaults, injected = cells.get("parameters"), cells.get("injected-parameters")
    if defaults is None:
        return
    try:
        values = {**_assigned(defaults.source), **(_assigned(injected.source) if injected else {})}
    except (SyntaxError, ValueError):
        return  # somebody changed it by hand: shown unchanged
    lines = [f"{name} = {_without_machine(value, root)!r}" for name, value in values.items()]
    defaults.source = "\n".join(["# The parameters that were used.", *lines])
    notebook.cells = [cell for cell in notebook.cells if cell is not injected]


def _assigned(source: str) -> dict[str, Any]:
    """The values that a cell of parameters assigns; ``ValueError`` if it does anything else."""
    values = {}
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            raise ValueError("not only assignments")
        target = statement.targets[0]
        if not isinstance(target, ast.Name):
            raise ValueError("not a name")
        values[target.id] = ast.literal_eval(statement.value)
    return values


def _without_machine(value: Any, root: Path | None) -> Any:
    """A path within the workspace; of one elsewhere, its last two parts."""
    if not isinstance(value, str) or not value.startswith("/") or "\n" in value:
        return value
    path = Path(value)
    if root is not None and path.is_relative_to(root):
        return str(path.relative_to(root))
    return "/".join(("…", *path.parts[1:][-2:]))


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
