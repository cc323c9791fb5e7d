"""One notebook of a tenant, run through papermill on a kernel of the batch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError

from ..errors import RunbookError, cause_of
from ..guide import WHOLE
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED
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

NOT_USED, INSTEAD = "the page of the whole tenant was not used", "the sections' notebooks ran instead"
#: The parameters of the notebook of all sections.
OF_ALL = ("site", "tenant", "mode")


@dataclass(frozen=True)
class _Ending:
    """How the execution of a notebook ended, seen from outside."""

    failure: str = ""
    cause: tuple[str, ...] = ()
    #: From outside, so that the section's own last result does not count.
    cut_off: bool = False
    interrupted: bool = False


def run_section(
    job: Job,
    section: str,
    kernels: KernelPool,
    following: Job | None,
    aside: Aside,
    interruption: Interruption,
) -> SectionResult:
    """Run one section's notebook; whatever happens to it is a value in the result.

    Meanwhile the kernel of ``following`` is started, for the notebook that runs next if this one succeeds.
    """
    started = time.monotonic()
    ending = _execute(job, section, kernels, following, interruption)
    result = _result(job, section, job.output(section), ending, aside)
    _write_page(job, section, aside)
    return replace(result, seconds=round(time.monotonic() - started, 2))


def run_whole(
    job: Job, kernels: KernelPool, following: Job | None, aside: Aside, interruption: Interruption
) -> list[SectionResult]:
    """Run the notebook of the whole tenant, which writes nothing, and return the results of all sections.

    If it does not succeed, it leaves a remark and returns nothing: the sections' notebooks can do the work
    instead, and report what is wrong. If it was interrupted, or withheld because of a secret, the result
    of the first section says so.
    """
    started, output, begun = time.monotonic(), job.output(WHOLE), job.order
    ending = _execute(job, WHOLE, kernels, following, interruption)
    own = [result_of(job.folder, section) for section in job.order]
    if ending.failure or any(one.get("outcome") != SUCCEEDED for one in own):
        for path in job.folder.glob("*.result.json"):
            path.unlink()
        outcome = outcome_of(output, {}, ending.failure, interrupted=ending.interrupted)
        if outcome != INTERRUPTED and output.exists():
            output.unlink()
            why = ending.failure.splitlines() or ["a section kept no result"]
            aside.remark(f"{NOT_USED} ({scrub(why[0])}); {INSTEAD}")
            return []
        begun = job.order[:1]
    results = [_result(job, section, output, ending, aside) for section in begun]
    _write_page(job, WHOLE, aside)
    seconds = [one.get("seconds", 0.0) for one in own[: len(begun)]]
    # To start, show and keep it is not the work of a section; the first one counts it, as it does in any run.
    seconds[0] += max(0.0, time.monotonic() - started - sum(seconds))
    return [replace(one, seconds=round(own_s, 2)) for one, own_s in zip(results, seconds, strict=True)]


def _write_page(job: Job, part: str, aside: Aside) -> None:
    if job.output(part).exists():
        named = "page" if part == WHOLE else f"section {part}"
        aside.attempt(f"writing the page of {job.tenant}'s {named}", write_page, job.output(part))


def _execute(
    job: Job, part: str, kernels: KernelPool, following: Job | None, interruption: Interruption
) -> _Ending:
    output, passed = job.output(part), job.passed
    names = OF_ALL if part == WHOLE else (*passed,)
    try:
        with interruption.allowed():
            kernel = kernels.take(job.folder, job.environment)
            if following is not None:
                kernels.prepare(following.folder, following.environment)
            papermill.execute_notebook(
                str(NOTEBOOKS / output.name),
                str(output),
                parameters={name: passed[name] for name in names},
                engine_name="runbook",
                kernel_name=KERNEL,
                progress_bar=False,
                cwd=str(job.root),
                kernel=kernel,
            )
    except PapermillExecutionError as error:
        return _Ending(f"{error.ename}: {error.evalue}")
    except INTERRUPTIONS as error:
        return _Ending(describe_interruption(error), cut_off=True, interrupted=True)
    except BaseException as error:
        # A kernel that died, a cell that timed out, a full disk: the tenant failed, the batch continues.
        return _Ending(f"{type(error).__name__}: {error}", cause_of(error), cut_off=True)
    return _Ending()


def _result(job: Job, section: str, output: Path, ending: _Ending, aside: Aside) -> SectionResult:
    failure, cause = ending.failure, ending.cause
    outcome = outcome_of(output, result_of(job.folder, section), failure, interrupted=ending.interrupted)
    known = {"run_id": job.folder.name, "mode": job.mode, "tenant": job.tenant, "target": dict(job.target)}
    try:
        result = settle(job.folder, section, known, outcome, failure, cut_off=ending.cut_off)
    except OSError as error:
        outcome = outcome if ending.interrupted else FAILED
        failure, cause = failure or describe_unwritten(error), cause or cause_of(error)
        result = result_of(job.folder, section) | {"error": None}
    cautions = clock_cautions(result.get("clocks"))
    for caution in cautions:
        aside.remark(caution)
    rows = result.get("applied")
    if rows is None:
        rows = [row for row in result.get("plan") or [] if row["action"] in CHANGING]
    return SectionResult(
        section,
        outcome,
        writes=result.get("writes", 0),
        changes=len(rows),
        notebook=output if output.exists() else None,
        message=_message(result.get("error")) or scrub(failure),
        to_look_at=_to_look_at(result),
        cause=() if outcome == SUCCEEDED else cause or tuple((result.get("error") or {}).get("cause", ())),
        twilio_at_once=result.get("twilio_at_once", 0),
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
