"""The runner: the notebooks of tenants, one after the other, through papermill.

A section that fails ends its tenant; a tenant that fails is a value in the result, not an exception.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import papermill
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError
from pydantic_core import to_jsonable_python

from ..approval import GivenApproval
from ..errors import RunbookError, cause_of
from ..facts.sharing import MOMENT, SharedMoment
from ..guide import SECTIONS
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED, ExitStatus
from ..parameters import load_all, project_root, settled
from ..parameters.loading import SHARED
from ..paths import current_folder, locate, near
from ..plain_files import describe, read_mapping
from ..plan import CHANGING, TO_LOOK_AT
from ..product import NOTEBOOKS
from ..records import living
from ..records.clocks import clock_cautions
from ..records.policy import LIVE, Seen
from ..records.record import (
    OPENING,
    carry_opening,
    close_record,
    is_chained,
    is_open,
    open_record,
    refuse_links,
    run_name,
    write_record,
)
from ..records.result import RUN_FOLDER, new_run_id, now, write_json
from ..runbook import Runbook
from ..secret import scrub, scrub_data
from ..sections.guards import describe_stop
from ..vendors.lending import TOKEN, Lender, answer_with
from ..workspace import records_folder
from .channel import Channel
from .ending import outcome_of, result_of, settle
from .engine import RunbookEngine
from .interruption import INTERRUPTIONS, Interruption, describe_interruption, interruptible
from .kernels import KERNEL, KernelPool
from .pages import INDEX, write_index, write_page, write_run_index
from .scan import CHANGE_IT, leak_summary, scan, withhold
from .sessions import Sessions

NOT_RUN = "not run"
RUN_FILE = "run.json"
#: So many tenants that fail one after the other for the same cause end a batch, …
IN_A_ROW = 3
#: … if that cause is not the tenant's own.
OWN_CAUSES = frozenset({"ConflictError", "StalePlanError", "VerificationError", "LockedError"})
#: The parameters of a notebook that name files.
FILES = ("site", "tenant", "plan_file")


@dataclass(frozen=True)
class SectionResult:
    """The result of one section.

    ``outcome`` is ``"succeeded"``, ``"failed"``, ``"interrupted"`` or ``"not run"``; ``changes`` the
    rows that were carried out (in ``plan`` mode: that would be); ``notebook`` the executed notebook,
    if it ran.
    """

    section: str
    outcome: str
    seconds: float = 0.0
    writes: int = 0
    changes: int = 0
    notebook: Path | None = None
    message: str = ""
    #: What is to be looked at though it stopped nothing: why, and the setting.
    to_look_at: tuple[tuple[str, str], ...] = ()
    #: Of a failure: ``errors.cause_of``.
    cause: tuple[str, ...] = ()
    #: The most requests at once that Twilio reported for the account.
    twilio_at_once: int = 0


@dataclass(frozen=True)
class TenantResult:
    """The result of one tenant: its run's folder, and its sections in the order in which they ran.

    ``problem`` says why no section was run, or why the record is withheld or could not be written; in
    these cases the tenant failed.
    """

    site: str
    tenant: str
    folder: Path
    sections: tuple[SectionResult, ...]
    problem: str = ""
    #: Why its record could not be written, as ``errors.cause_of``.
    record_cause: tuple[str, ...] = ()

    @property
    def cause(self) -> tuple[str, ...]:
        """What it failed for, as a key; empty if that is not known, or if it did not fail."""
        causes = (section.cause for section in self.sections if section.outcome == FAILED)
        return next(filter(None, causes), self.record_cause)

    @property
    def outcome(self) -> str:
        """``"succeeded"``, ``"failed"`` or ``"interrupted"``."""
        outcomes = {one.outcome for one in self.sections}
        if INTERRUPTED in outcomes:
            return INTERRUPTED
        return FAILED if self.problem or outcomes != {SUCCEEDED} else SUCCEEDED

    @property
    def seconds(self) -> float:
        """How long its sections took together."""
        return sum(one.seconds for one in self.sections)

    @property
    def changes(self) -> int:
        """How many rows of the plan were carried out, or would be."""
        return sum(one.changes for one in self.sections)

    @property
    def writes(self) -> int:
        """How many writes were sent to the vendors."""
        return sum(one.writes for one in self.sections)


@dataclass(frozen=True)
class RunResult:
    """The result of a batch, and the page over its records.

    ``not_begun`` names the tenants that were skipped: after an interruption, or when the batch was stopped
    (``stopped``). ``batch`` is its id, if it has one, and ``page`` its page. ``remarks`` say what failed
    besides the work (a page, the index, an observer); outcomes do not depend on it.
    """

    mode: str
    tenants: tuple[TenantResult, ...]
    index: Path
    not_begun: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    stopped: Stop | None = None
    batch: str = ""
    page: Path | None = None

    @property
    def exit_status(self) -> int:
        """The status of a command that ran it."""
        done = all(tenant.outcome == SUCCEEDED for tenant in self.tenants) and not self.not_begun
        return ExitStatus.FINE if done else ExitStatus.FAILED


class Stop(StrEnum):
    """Why a batch begins no further tenant."""

    TOO_MANY = "as many tenants failed as --max-failures allows"
    SAME_CAUSE = "several tenants in a row failed for the same cause"


class Brake:
    """Decides after each tenant whether a batch goes on.

    What is wrong with one tenant (a conflict, a difference that was read back) can be wrong with the next
    one as well, so it counts only towards ``max_failures``. A vendor that is gone, a refused sign-in or a
    full disk will stop every tenant: a few in a row are enough.

    Parameters
    ----------
    max_failures
        After how many failed tenants no further one is begun; ``None`` for no limit.
    """

    def __init__(self, max_failures: int | None = None) -> None:
        self._max_failures = max_failures
        self._failures = 0
        self._cause: tuple[str, ...] = ()
        self._in_a_row = 0
        self.stopped: Stop | None = None

    def saw(self, result: TenantResult) -> None:
        """Count a tenant that has ended."""
        if result.outcome == INTERRUPTED:
            return
        cause = result.cause if result.outcome == FAILED else ()
        shared = cause if cause and cause[0] not in OWN_CAUSES else ()
        self._in_a_row = self._in_a_row + 1 if shared and shared == self._cause else bool(shared)
        self._cause = shared
        self._failures += result.outcome == FAILED
        if self._in_a_row >= IN_A_ROW:
            self.stopped = self.stopped or Stop.SAME_CAUSE
        if self._max_failures is not None and self._failures >= self._max_failures:
            self.stopped = self.stopped or Stop.TOO_MANY


class Observer:
    """Base observer: override the callbacks you need; the defaults do nothing.

    An error in a callback becomes a remark in the batch's result: it cannot end the batch.
    """

    def on_tenant_start(self, tenant: str) -> None:
        """Called before a tenant's first section."""

    def on_policy(self, tenant: str, seen: str) -> None:
        """Called before a tenant's first section if there is something to report about the site's policy."""

    def on_begun(self, tenant: str) -> None:
        """Called when a tenant begins, also among others at the same time."""

    def on_going(self, tenant: str, section: str, done: Sequence[SectionResult]) -> None:
        """Called when one of several tenants at once begins a section; ``done`` are those before it."""

    def on_section_start(self, tenant: str, section: str) -> None:
        """Called before a section's notebook runs."""

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        """Called with the result of a section, including one that was not run."""

    def on_tenant_end(self, result: TenantResult) -> None:
        """Called when a tenant's record is written."""


class Aside(Observer):
    """What accompanies a batch: its observer, pages and index. A failure here is a remark.

    Parameters
    ----------
    observer
        Receives the same calls as this object.
    interruption
        Is informed of an interruption that reaches the observer; must be holding signals.
    """

    def __init__(self, observer: Observer, interruption: Interruption) -> None:
        self._observer = observer
        self._interruption = interruption
        self.remarks: list[str] = []

    def on_tenant_start(self, tenant: str) -> None:
        self.attempt("showing the progress", self._observer.on_tenant_start, tenant)

    def on_policy(self, tenant: str, seen: str) -> None:
        self.attempt("showing the progress", self._observer.on_policy, tenant, seen)

    def on_begun(self, tenant: str) -> None:
        self.attempt("showing the progress", self._observer.on_begun, tenant)

    def on_going(self, tenant: str, section: str, done: Sequence[SectionResult]) -> None:
        self.attempt("showing the progress", self._observer.on_going, tenant, section, done)

    def on_section_start(self, tenant: str, section: str) -> None:
        self.attempt("showing the progress", self._observer.on_section_start, tenant, section)

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        self.attempt("showing the progress", self._observer.on_section_end, tenant, result)

    def on_tenant_end(self, result: TenantResult) -> None:
        self.attempt("showing the progress", self._observer.on_tenant_end, result)

    def attempt(self, what: str, call: Callable[..., object], *arguments: object) -> None:
        """Call, and record an error as a remark."""
        try:
            call(*arguments)
        except KeyboardInterrupt:  # from somebody else's handler: the next section is not begun
            self._interruption(signal.SIGINT)
        except BaseException as error:  # a library may even exit when its output is gone
            remark = scrub(f"{what} failed ({type(error).__name__}: {error})")
            if remark not in self.remarks:
                self.remarks.append(remark)


@dataclass(frozen=True)
class Job:
    """One tenant's run, checked and named before it starts; files in ``parameters`` have full paths."""

    site: str
    tenant: str
    folder: Path
    target: Mapping[str, str]
    parameters: Mapping[str, Any]
    declared: Mapping[str, Any]
    order: tuple[str, ...]
    sections: tuple[str, ...]
    options: Mapping[str, Any]
    #: The workspace's folder.
    root: Path
    approver: Mapping[str, Any] = field(default_factory=dict)
    #: Policy and approval for the opening: ``Runbook.kept``.
    kept: Mapping[str, Any] = field(default_factory=dict)
    #: As it was given, for a process of its own.
    approval: Mapping[str, Any] = field(default_factory=dict)
    #: The id of the batch that it belongs to.
    batch: str = ""

    def output(self, section: str) -> Path:
        """Where the section's executed notebook goes."""
        return self.folder / f"{SECTIONS[section].notebook}.ipynb"

    @property
    def records(self) -> Path:
        """The records folder of all sites."""
        return self.folder.parents[2]

    @property
    def passed(self) -> dict[str, Any]:
        """The notebooks' parameters: file names relative to the workspace, where kernels run."""
        files = {
            key: near(Path(self.parameters[key]), self.root) for key in FILES if self.parameters.get(key)
        }
        return {**self.parameters, **files}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that show a kernel to which run it belongs."""
        return {RUN_FOLDER: str(self.folder)}


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
        The id of the batch that the runs belong to, for their records.

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
    site = settled(site, root)
    steps = [(job, section) for job in jobs for section in job.order]
    results: list[TenantResult] = []
    # A signal interrupts only a section's work: neither a record nor the end of another tenant.
    with interruptible() as interruption, interruption.held():
        aside = Aside(observer, interruption)
        channel = Channel()
        folder = jobs[0].folder
        sessions = Sessions(site, root, lambda phase: living.enter(folder, phase))
        channel.register(TOKEN, partial(answer_with, sessions.lend))
        moment = SharedMoment()
        channel.register(MOMENT, moment.answer)
        with ExitStack() as stack:
            stack.callback(aside.attempt, "signing out", sessions.end)
            kernels = stack.enter_context(KernelPool(root, channel))
            for job in jobs:
                folder = job.folder
                if interruption.arrived is not None or INTERRUPTED in {one.outcome for one in results}:
                    break
                if brake.stopped:
                    break
                aside.attempt("signing out", sessions.end_tenants)
                after = _followers(steps)
                moment.start(job.folder.name)
                results.append(
                    _run_tenant(job, mode, root, kernels, sessions.lend, moment, after, aside, interruption)
                )
                brake.saw(results[-1])
        aside.attempt("writing the page over all records", write_index, records_folder(root))
    not_begun = tuple(job.tenant for job in jobs[len(results) :])
    index = records_folder(root) / INDEX
    return RunResult(mode, tuple(results), index, not_begun, tuple(aside.remarks), brake.stopped)


def jobs_of(
    root: Path,
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval,
    sections: tuple[str, ...],
    options: Mapping[str, Any],
    *,
    run_ids: Sequence[str] = (),
    plans: Mapping[str, str] | None = None,
    batch: str = "",
) -> list[Job]:
    """Check a batch's parameters and approvals, and name its runs; ``InputError`` with all problems."""
    jobs = []
    loaded = load_all(site, tenants, root)
    site = settled(site, root)
    if plan_file := approval.get("plan_file"):
        approval = {**approval, "plan_file": str(locate(plan_file, current_folder(), root) or plan_file)}
    for path, (the_site, the_tenant), run_id in zip(
        tenants, loaded, run_ids or [new_run_id() for _ in tenants], strict=True
    ):
        tenant = settled(path, root)
        if plans:
            approval = {**approval, "plan_file": plans[str(path)]}
        # Checks the approval as well, before any kernel starts.
        runbook = Runbook.open(site, tenant, mode=mode, sections=sections, **approval, **options)
        folder = records_folder(root) / the_site.name / the_tenant.name / run_id
        parameters = {"site": str(site), "tenant": str(tenant), "mode": mode, **approval, **options}
        # The kernels use the one that the run's folder keeps.
        parameters.pop("approval_file", None)
        declared = to_jsonable_python({"site": the_site, "tenant": the_tenant})
        jobs.append(
            Job(
                the_site.name,
                the_tenant.name,
                folder,
                runbook.target,
                parameters,
                declared,
                runbook.order,
                sections,
                options,
                root,
                runbook.approver,
                runbook.kept,
                approval,
                batch,
            )
        )
    return jobs


def _in_the_way(job: Job, lender: Lender, moment: SharedMoment) -> str:
    """Why the tenant could not be completed, determined before its first write; empty if it can.

    An approved plan is compared section by section instead; if planning fails, a section's notebook
    reports that in its record.
    """
    if job.parameters["mode"] != "apply" or job.parameters.get("plan_file"):
        return ""
    try:
        with Runbook.open(
            job.parameters["site"], job.parameters["tenant"], sections=job.sections, **job.options
        ) as runbook:
            runbook.context.lender = lender
            plan = runbook.plan()
            moment.keep(runbook.context.moment, runbook.context.journal.clocks)
    except RunbookError:
        return ""
    rows = [row for part in plan.slices for row in part.stopping]
    if not rows:
        return ""
    told = [f"Step {row.step}, {describe_stop(row)}" for row in rows]
    return scrub("\n".join([*told, "Nothing was changed for this tenant. Resolve this, then run it again."]))


def _followers(steps: Sequence[tuple[Job, str]]) -> Callable[[Job, str], tuple[Job, str] | None]:
    """Return a function that tells which notebook runs after the given one, if all goes well."""

    def following(job: Job, section: str) -> tuple[Job, str] | None:
        index = steps.index((job, section)) + 1
        return steps[index] if index < len(steps) else None

    return following


def _run_tenant(
    job: Job,
    mode: str,
    root: Path,
    kernels: KernelPool,
    lender: Lender,
    moment: SharedMoment,
    following: Callable[[Job, str], tuple[Job, str] | None],
    aside: Aside,
    interruption: Interruption,
) -> TenantResult:
    aside.on_begun(job.tenant)
    aside.on_tenant_start(job.tenant)
    started, sections, in_the_way, opened = now(), list[SectionResult](), "", False
    for section in job.order:
        try:
            if not sections:
                with interruption.allowed():
                    affected = _affected(job, lender)
                _open(job, mode, affected, aside)
                opened = True
                with interruption.allowed():
                    # It starts while the vendors are asked; where something is in the way, in vain.
                    kernels.prepare(job.output(section), job.environment)
                    in_the_way = _in_the_way(job, lender, moment)
            if in_the_way or any(one.outcome != SUCCEEDED for one in sections):
                result = SectionResult(section, NOT_RUN)
            else:
                aside.on_section_start(job.tenant, section)
                after = following(job, section)
                result = _run_section(job, section, root, kernels, after, aside, interruption)
        except INTERRUPTIONS as error:
            result = SectionResult(section, INTERRUPTED, message=describe_interruption(error))
        except OSError as error:
            result = SectionResult(section, FAILED, message=_unwritable(error), cause=cause_of(error))
        except RunbookError as error:
            result = SectionResult(section, FAILED, message=str(error), cause=cause_of(error))
        except BaseException as error:
            # A bug in the runbook: this tenant failed, its record is closed, the batch continues.
            result = SectionResult(section, FAILED, message=_unexpected(error), cause=cause_of(error))
        sections.append(result)
        aside.on_section_end(job.tenant, result)
    whole = TenantResult(job.site, job.tenant, job.folder, tuple(sections), in_the_way)
    # A run that was refused before it opened leaves nothing: it is not a record and must not look like one.
    if opened or is_open(job.folder):
        whole = _recorded(job, whole, mode, started, aside)
    aside.on_tenant_end(whole)
    return whole


def _affected(job: Job, lender: Lender) -> list[dict[str, str]] | None:
    """The tenants that a run for a shared trunk affects; ``None`` for a tenant's run, or if unreadable.

    If it cannot be read, a section's notebook reports that in its record.
    """
    tenant = job.parameters["tenant"]
    if job.parameters["mode"] != "apply" or not isinstance(tenant, str) or not tenant.startswith(SHARED):
        return None
    try:
        with Runbook.open(job.parameters["site"], tenant) as runbook:
            runbook.context.lender = lender
            return runbook.tenants_affected()
    except RunbookError:
        return None


def _open(job: Job, mode: str, affected: list[dict[str, str]] | None, aside: Aside) -> None:
    """Make the run's folder, and the run visible in the chain of records before its first write.

    Remarks about the site's policy are reported now; what the file system lacks for the record is a remark.
    """
    if not is_chained(mode):
        refuse_links(job.records, run_name(job.records, job.folder))
        job.folder.mkdir(parents=True)
        return
    open_record(
        job.records,
        job.folder,
        mode=mode,
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
    aside.remarks += [note for note in notes if note not in aside.remarks]
    seen = opening.get("policy_compared", Seen.UNCHANGED)
    if seen == Seen.WEAKER or (seen == Seen.FIRST and job.target["target"] == LIVE):
        aside.on_policy(job.tenant, opening["policy_seen"])


def _recorded(job: Job, result: TenantResult, mode: str, started: str, aside: Aside) -> TenantResult:
    """Write the run's own files and close its record; withhold it if any of its files contains a secret."""
    try:
        _write_run(job, result, mode, started, aside)
    except Exception as error:
        result = _broken(result, error)
    try:
        if found := scan(job.folder.rglob("*")):
            withheld = withhold(job.folder)
            # It is replaced by what may be shown of it, so that the run does not vanish from the records.
            sections = tuple(replace(one, notebook=None) for one in result.sections)
            problem = f"{leak_summary(found)}\nIt is in {withheld}: {CHANGE_IT}"
            result = replace(result, sections=sections, problem=problem)
            job.folder.mkdir()
            carry_opening(withheld, job.folder)
            _write_run(job, result, mode, started, aside)
        if is_open(job.folder):
            close_record(job.records, job.folder)
    except Exception as error:
        result = _broken(result, error)
    return result


def _broken(result: TenantResult, error: Exception) -> TenantResult:
    """A result whose record cannot be written or closed: the tenant failed, the batch continues."""
    if isinstance(error, OSError):
        problem = _unwritable(error)
    elif isinstance(error, RunbookError):
        problem = str(error)
    else:  # files that cannot be interpreted
        problem = f"the record cannot be written ({type(error).__name__})"
    lines = dict.fromkeys([*result.problem.splitlines(), problem])
    return replace(result, problem="\n".join(lines), record_cause=cause_of(error))


def _write_run(job: Job, result: TenantResult, mode: str, started: str, aside: Aside) -> None:
    write_json(job.folder / RUN_FILE, scrub_data(_summary(result, job.target, mode, started)))
    if is_open(job.folder):
        write_record(job.folder)
    aside.attempt(f"writing the page of {job.tenant}'s run", write_run_index, job.folder)


def _unexpected(error: BaseException) -> str:
    return scrub(f"{type(error).__name__}: {error}")


def _unwritable(error: OSError) -> str:
    return f"the record cannot be written ({describe(error)})"


def _run_section(
    job: Job,
    section: str,
    root: Path,
    kernels: KernelPool,
    following: tuple[Job, str] | None,
    aside: Aside,
    interruption: Interruption,
) -> SectionResult:
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
                cwd=str(root),
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
    known = {"run_id": job.folder.name, "mode": job.parameters["mode"], "tenant": job.tenant}
    try:
        result = settle(
            job.folder, section, {**known, "target": dict(job.target)}, outcome, failure, cut_off=cut_off
        )
    except OSError as error:
        outcome, failure = (outcome if interrupted else FAILED), failure or _unwritable(error)
        cause = cause or cause_of(error)
        result = result_of(job.folder, section) | {"error": None}
    if output.exists():
        aside.attempt(f"writing the page of {job.tenant}'s section {section}", write_page, output)
    cautions = clock_cautions(result.get("clocks"))
    aside.remarks += [caution for caution in cautions if caution not in aside.remarks]
    message = _told(result.get("error")) or scrub(failure)
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
    """What a section's rows say is to be looked at, as read back, or else as planned."""
    rows = (result.get("verification") or {}).get("rows") or result.get("plan") or []
    return tuple((row["why"], row["setting"]) for row in rows if row.get("why") in TO_LOOK_AT)


def _told(error: Mapping[str, Any] | None) -> str:
    """What an operator has to know about a failure, as the notebook shows it."""
    if not error:
        return ""
    return str(
        RunbookError(
            error["what"], step=error["step"], meaning=error["meaning"], next_step=error["next_step"]
        )
    )


def _summary(result: TenantResult, target: Mapping[str, str], mode: str, started: str) -> dict[str, Any]:
    return {
        "run_id": result.folder.name,
        "site": result.site,
        "tenant": result.tenant,
        "target": dict(target),
        "mode": mode,
        "started": started,
        "ended": now(),
        "outcome": result.outcome,
        "problem": result.problem,
        "sections": [
            {
                "section": one.section,
                "title": SECTIONS[one.section].title,
                "outcome": one.outcome,
                "seconds": one.seconds,
                "writes": one.writes,
                "changes": one.changes,
                "notebook": one.notebook.name if one.notebook else None,
                "message": one.message,
            }
            for one in result.sections
        ],
    }
