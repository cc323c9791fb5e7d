"""The record of a tenant's run in a batch: opened before its first section, written and closed at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import RunbookError, cause_of
from ..guide import SECTIONS
from ..plain_files import describe, read_mapping
from ..records.policy import LIVE, Seen
from ..records.record import close_record, is_chained, open_record, write_record
from ..records.result import now, write_json
from ..records.run_folder import OPENING, RUN, carry_clean, is_open, refuse_links, run_name
from ..secret import scrub, scrub_data
from .jobs import Job
from .observer import Aside
from .pages import write_run_index
from .results import TenantResult
from .scan import CHANGE_IT, leak_summary, scan, withhold


def open_run(job: Job, affected: list[dict[str, str]] | None, aside: Aside) -> None:
    """Make the run's folder, and the run visible in the chain of records before its first write.

    Remarks about the site's policy are reported now; what the file system lacks for the record is a remark.
    """
    if not is_chained(job.mode):
        refuse_links(job.records, run_name(job.records, job.folder))
        job.folder.mkdir(parents=True)
        return
    open_record(
        job.records,
        job.folder,
        mode=job.mode,
        site=job.site,
        tenant=job.tenant,
        target=job.target,
        order=job.order,
        parameters=job.declared,
        files={name: job.passed[name] for name in ("site", "tenant")},
        approval=job.approver,
        affected=affected,
        workspace=job.root,
        batch=job.batch or None,
        **job.kept,
    )
    opening = read_mapping(job.folder / OPENING)
    notes = [f"the records folder: {note}" for note in opening.get("notes", ())]
    for note in notes:
        aside.remark(note)
    seen = opening.get("policy_compared", Seen.UNCHANGED)
    if seen == Seen.WEAKER or (seen == Seen.FIRST and job.target["target"] == LIVE):
        aside.on_policy(job.tenant, opening["policy_seen"])


def record_run(job: Job, result: TenantResult, started: str, aside: Aside) -> TenantResult:
    """Write the run's own files and close its record; withhold it if any of its files contains a secret."""
    try:
        _write_run(job, result, started, aside)
    except Exception as error:
        result = _broken(result, error)
    try:
        if found := scan(job.folder.rglob("*")):
            withheld = withhold(job.folder)
            # It is replaced by what may be shown of it, so that the run does not vanish from the records.
            sections = tuple(replace(section, notebook=None) for section in result.sections)
            problem = f"{leak_summary(found)}\nIt is in {withheld}: {CHANGE_IT}"
            result = replace(result, sections=sections, problem=problem)
            job.folder.mkdir()
            carry_clean(withheld, job.folder)
            _write_run(job, result, started, aside)
        if is_open(job.folder):
            close_record(job.records, job.folder)
    except Exception as error:
        result = _broken(result, error)
    return result


def _broken(result: TenantResult, error: Exception) -> TenantResult:
    """A result whose record cannot be written or closed: the tenant failed, the batch continues."""
    if isinstance(error, OSError):
        problem = describe_unwritten(error)
    elif isinstance(error, RunbookError):
        problem = str(error)
    else:  # files that cannot be interpreted, or a bug
        problem = scrub(f"the record cannot be written ({type(error).__name__}: {error})")
    lines = dict.fromkeys([*result.problem.splitlines(), problem])
    return replace(result, problem="\n".join(lines), record_cause=cause_of(error))


def _write_run(job: Job, result: TenantResult, started: str, aside: Aside) -> None:
    write_json(job.folder / RUN, scrub_data(_summary(job, result, started)))
    if is_open(job.folder):
        write_record(job.folder)
    aside.attempt(f"writing the page of {job.tenant}'s run", write_run_index, job.folder)


def _summary(job: Job, result: TenantResult, started: str) -> dict[str, Any]:
    return {
        "run_id": job.folder.name,
        "site": job.site,
        "tenant": job.tenant,
        "target": dict(job.target),
        "mode": job.mode,
        "started": started,
        "ended": now(),
        "outcome": result.outcome,
        "problem": result.problem,
        "sections": [
            {
                "section": section.section,
                "title": SECTIONS[section.section].title,
                "outcome": section.outcome,
                "seconds": section.seconds,
                "writes": section.writes,
                "changes": section.changes,
                "notebook": section.notebook.name if section.notebook else None,
                "message": section.message,
            }
            for section in result.sections
        ],
    }


def describe_unwritten(error: OSError) -> str:
    """Return what an operator has to know about a record that the file system refuses."""
    return f"the record cannot be written ({describe(error)})"
