"""The runner: the notebooks of tenants, one after the other, through papermill.

A section that fails ends its tenant; a tenant that fails is a value in the result, not an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from papermill.engines import papermill_engines

from ..approval import GivenApproval
from ..errors import RunbookError, cause_of
from ..facts.sharing import MOMENT, SharedMoment
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED
from ..parameters import project_root, settled
from ..parameters.loading import SHARED
from ..plan import Plan
from ..records import living
from ..records.result import now
from ..records.run_folder import is_open
from ..records.waits import Waits
from ..runbook import Runbook
from ..secret import scrub
from ..sections.guards import describe_stop
from ..vendors.lending import TOKEN, Lender, answer_with
from ..workspace import records_folder
from .brake import Brake
from .channel import Channel
from .engine import RunbookEngine
from .interruption import INTERRUPTIONS, Interruption, describe_interruption, interruptible
from .jobs import Job, jobs_of
from .kernels import KernelPool
from .observer import Aside, Observer
from .pages import INDEX, write_index
from .recording import describe_unwritten, open_run, record_run
from .results import NOT_RUN, RunResult, SectionResult, TenantResult
from .section import INSTEAD, NOT_USED, run_section, run_whole
from .sessions import Sessions


def run_tenants(
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval,
    observer: Observer,
    sections: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    *,
    run_ids: Sequence[str] = (),
    plans: Mapping[str, str] | None = None,
    brake: Brake | None = None,
    batch: str = "",
    overview: bool = True,
) -> RunResult:
    """Run the sections' notebooks for each tenant, and write their pages.

    Parameters
    ----------
    site, tenants
        Parameter files; ``"trunk:NAME"`` among the tenants for a shared trunk on its own.
    mode
        ``"plan"``, ``"apply"`` or ``"verify"``.
    approval
        ``plan_file``, ``approved_plan``, ``approved_by`` and ``approval_file``, or nothing.
    observer
        Called at every start and end; its errors do not affect the work.
    sections, options
        The sections to run (none: the whole guide), and further parameters of their notebooks, which
        ``Runbook.open`` takes as well.
    run_ids
        The ids of the tenants' runs, if they have been chosen already.
    plans
        The plans' files, by tenant file, where each tenant has its own.
    brake
        Decides whether a further tenant is begun.
    batch
        The batch that the runs belong to, for their records.
    overview
        Whether to write the page over all records too.

    Raises ``InputError`` with the problems of all files before anything runs.
    """
    brake = brake or Brake()
    # Registered by its entry point in an installed project; named here for a bare checkout.
    papermill_engines.register("runbook", RunbookEngine)
    root = project_root()
    jobs = jobs_of(
        *(root, site, tenants, mode, approval, tuple(sections), options or {}),
        run_ids=run_ids,
        plans=plans,
        batch=batch,
    )
    results: list[TenantResult] = []
    # A signal interrupts only a section's work: neither a record nor the end of another tenant.
    with interruptible() as interruption, interruption.held():
        aside = Aside(observer, interruption)
        channel = Channel()
        folder = jobs[0].folder
        waits = Waits(lambda wait: living.report_wait(folder, living.Process.RUNNER, wait))
        sessions = Sessions(settled(site, root), root, lambda phase: living.enter(folder, phase), waits)
        channel.register(TOKEN, partial(answer_with, sessions.lend))
        moment = SharedMoment()
        channel.register(MOMENT, moment.answer)
        with ExitStack() as stack:
            stack.callback(aside.attempt, "signing out", sessions.end)
            kernels = stack.enter_context(KernelPool(root, channel))
            the_batch = _Batch(kernels, sessions.lend, waits, moment, aside, interruption)
            for job, after in zip_longest(jobs, jobs[1:]):
                folder = job.folder
                ended = interruption.arrived is not None or (results and results[-1].outcome == INTERRUPTED)
                if ended or brake.stopped:
                    break
                aside.attempt("signing out", sessions.end_tenants)
                moment.start(job.folder.name)
                results.append(the_batch.run(job, after))
                brake.saw(results[-1])
        if overview:
            aside.attempt("writing the page over all records", write_index, records_folder(root))
    not_begun = tuple(job.tenant for job in jobs[len(results) :])
    index = records_folder(root) / INDEX
    return RunResult(mode, tuple(results), index, not_begun, tuple(aside.remarks), brake.stopped)


@dataclass(frozen=True)
class _Batch:
    """What the tenants of a batch share."""

    kernels: KernelPool
    lender: Lender
    waits: Waits
    moment: SharedMoment
    aside: Aside
    interruption: Interruption

    def run(self, job: Job, after: Job | None) -> TenantResult:
        """Run a tenant's sections, and keep its record; ``after`` is the tenant that comes next."""
        self.aside.on_begun(job.tenant, job.folder)
        self.aside.on_tenant_start(job.tenant)
        started, sections, opened, plan = now(), list[SectionResult](), False, None
        try:
            with self.interruption.allowed():
                affected = self._affected(job)
            open_run(job, affected, self.aside)
            opened = True
            with self.interruption.allowed():
                # It starts while the vendors are queried; if a conflict turns up, it is not used.
                self.kernels.prepare(job.folder, job.environment)
                plan = self._planned(job)
        except BaseException as error:
            sections.append(_ended_by(error, job.order[0]))
            self.aside.on_section_end(job.tenant, sections[-1])
        in_the_way = _in_the_way(plan) if plan is not None else ""
        is_in_place = plan is not None and not any(part.changing or part.stopping for part in plan.slices)
        if is_in_place and not job.sections:
            sections += self._on_one_page(job, after)
        for section in job.order[len(sections) :]:
            if in_the_way or any(done.outcome != SUCCEEDED for done in sections):
                result = SectionResult(section, NOT_RUN)
            else:
                following = after if section == job.order[-1] else job
                self.aside.on_section_start(job.tenant, section)
                try:
                    result = run_section(job, section, self.kernels, following, self.aside, self.interruption)
                except BaseException as error:
                    result = _ended_by(error, section)
            sections.append(result)
            self.aside.on_section_end(job.tenant, result)
        whole = TenantResult(job.site, job.tenant, job.folder, tuple(sections), in_the_way)
        # A run that was refused before it opened leaves nothing: it must not look like a record.
        if opened or is_open(job.folder):
            whole = record_run(job, whole, started, self.aside)
        self.aside.on_tenant_end(whole)
        return whole

    def _on_one_page(self, job: Job, after: Job | None) -> list[SectionResult]:
        """The results of a tenant with nothing to change, from one notebook; see ``run_whole``."""
        self.aside.on_section_start(job.tenant, job.order[0])
        try:
            results = run_whole(job, self.kernels, after, self.aside, self.interruption)
        except INTERRUPTIONS as error:
            results = [_ended_by(error, job.order[0])]
        except Exception as error:
            self.aside.remark(scrub(f"{NOT_USED} ({type(error).__name__}: {error}); {INSTEAD}"))
            return []
        for result in results:
            self.aside.on_section_end(job.tenant, result)
        return results

    def _affected(self, job: Job) -> list[dict[str, str]] | None:
        """The tenants that a run for a shared trunk affects; ``None`` for a tenant's run, or if unreadable.

        If it cannot be read, a section's notebook reports that in its record.
        """
        tenant = job.parameters["tenant"]
        if job.mode != "apply" or not isinstance(tenant, str) or not tenant.startswith(SHARED):
            return None
        try:
            with Runbook.open(job.parameters["site"], tenant) as runbook:
                runbook.context.lender = self.lender
                return runbook.tenants_affected()
        except RunbookError:
            return None

    def _planned(self, job: Job) -> Plan | None:
        """The plan of the whole tenant before its first write.

        ``None`` where an approved plan is compared section by section instead, and if planning fails: a
        section's notebook reports that in its record.
        """
        if job.mode != "apply" or job.parameters.get("plan_file"):
            return None
        try:
            with Runbook.open(
                job.parameters["site"], job.parameters["tenant"], sections=job.sections, **job.options
            ) as runbook:
                runbook.context.lender, runbook.context.waits = self.lender, self.waits
                plan = runbook.plan()
                self.moment.keep(runbook.context.moment, runbook.context.journal.clocks)
                return plan
        except RunbookError:
            return None


def _in_the_way(plan: Plan) -> str:
    """What would stop the tenant; empty if nothing would."""
    rows = [row for part in plan.slices for row in part.stopping]
    if not rows:
        return ""
    conflicts = [f"Step {row.step}, {describe_stop(row)}" for row in rows]
    return scrub(
        "\n".join([*conflicts, "Nothing was changed for this tenant. Resolve this, then run it again."])
    )


def _ended_by(error: BaseException, section: str) -> SectionResult:
    """The result of a section that an error outside its notebook ended."""
    if isinstance(error, INTERRUPTIONS):
        return SectionResult(section, INTERRUPTED, message=describe_interruption(error))
    # Whatever it is, also a bug: this tenant failed, its record is closed, the batch continues.
    if isinstance(error, OSError):
        told = describe_unwritten(error)
    else:
        told = str(error) if isinstance(error, RunbookError) else scrub(f"{type(error).__name__}: {error}")
    return SectionResult(section, FAILED, message=told, cause=cause_of(error))
