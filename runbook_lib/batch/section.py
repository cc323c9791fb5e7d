"""One section's notebook, run through papermill on a kernel of the batch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError

from ..errors import RunbookError, cause_of
from ..outcomes import FAILED, SUCCEEDED
from ..plan import CHANGING, TO_LOOK_AT
from ..product import NOTEBOOKS
from ..records.clocks import clock_cautions
from ..secret import scrub
from .ending import outcome_of, result_of, settle
from .interruption import INTERRUPTIONS, Interruption, describe_interruption
from .jobs import Job
from .kernels import KERNEL, KernelPool
from .observer import Aside
from .pages import write_page
from .recording import describe_unwritten
from .results import SectionResult


def run_section(
    job: Job,
    section: str,
    kernels: KernelPool,
    following: tuple[Job, str] | None,
    aside: Aside,
    interruption: Interruption,
) -> SectionResult:
    """Run one section's notebook; whatever happens to it is a value in the result.

    Meanwhile the kernel of ``following`` is started: the section that runs next if this one succeeds.
    """
    output, started = job.output(section), time.monotonic()
    failure, cut_off, interrupted = "", False, False
    cause: tuple[str, ...] = ()
    try:
        with interruption.allowed():
            kernel = kernels.take(output, job.environment)
            if following is not None:
                kernels.prepare(following[0].output(following[1]), following[0].environment)
            papermill.execute_notebook(
                str(NOTEBOOKS / output.name),
                str(output),
                parameters=job.passed,
                engine_name="runbook",
                kernel_name=KERNEL,
                progress_bar=False,
                cwd=str(job.root),
                kernel=kernel,
            )
    except PapermillExecutionError as error:
        failure = f"{error.ename}: {error.evalue}"
    except INTERRUPTIONS as error:
        failure, cut_off, interrupted = describe_interruption(error), True, True
    except BaseException as error:
        # A kernel that died, a cell that timed out, a full disk: the tenant failed, the batch continues.
        failure, cut_off, cause = f"{type(error).__name__}: {error}", True, cause_of(error)
    outcome = outcome_of(output, result_of(job.folder, section), failure, interrupted=interrupted)
    known = {"run_id": job.folder.name, "mode": job.mode, "tenant": job.tenant}
    try:
        result = settle(
            job.folder, section, {**known, "target": dict(job.target)}, outcome, failure, cut_off=cut_off
        )
    except OSError as error:
        outcome, failure = (outcome if interrupted else FAILED), failure or describe_unwritten(error)
        cause = cause or cause_of(error)
        result = result_of(job.folder, section) | {"error": None}
    if output.exists():
        aside.attempt(f"writing the page of {job.tenant}'s section {section}", write_page, output)
    cautions = clock_cautions(result.get("clocks"))
    aside.remarks += [caution for caution in cautions if caution not in aside.remarks]
    message = _message(result.get("error")) or scrub(failure)
    rows = result.get("applied")
    if rows is None:
        rows = [row for row in result.get("plan") or [] if row["action"] in CHANGING]
    return SectionResult(
        section,
        outcome,
        round(time.monotonic() - started, 2),
        result.get("writes", 0),
        len(rows),
        output if output.exists() else None,
        message,
        _to_look_at(result),
        () if outcome == SUCCEEDED else cause or tuple((result.get("error") or {}).get("cause", ())),
        result.get("twilio_at_once", 0),
    )


def _to_look_at(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The settings that an operator should check: as read back, or else as planned."""
    rows = (result.get("verification") or {}).get("rows") or result.get("plan") or []
    return tuple((row["why"], row["setting"]) for row in rows if row.get("why") in TO_LOOK_AT)


def _message(error: Mapping[str, Any] | None) -> str:
    """What an operator has to know about a failure, as the notebook shows it."""
    if not error:
        return ""
    return str(
        RunbookError(
            error["what"], step=error["step"], meaning=error["meaning"], next_step=error["next_step"]
        )
    )
