"""Several tenants of a batch at the same time, each in its own process with its own record.

The processes share what those of several operators would share: the locks of tenants and shared trunks,
the chain of records, and the memory of a refused sign-in. They are started through an executor in the shape
of ``concurrent.futures``: threads of this process, or Dask's workers on other machines (``runner``).
"""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..approval import GivenApproval
from ..errors import cause_of
from ..outcomes import FAILED, INTERRUPTED
from ..parameters import project_root
from ..secret import scrub
from ..workspace import records_folder
from . import forking
from .brake import Brake
from .interruption import INTERRUPTIONS, interruptible
from .jobs import Job, jobs_of
from .observer import Aside, Observer
from .pages import INDEX, write_index
from .results import NOT_RUN, RunResult, SectionResult, TenantResult
from .task import Ended, Event, Task, Watch, carry_out, passed_on
from .worker import ENDED, ERROR, POLICY, REMARK, SECTION, STARTED

POLL_S = 0.1
LOOK = "its journal in the tenant's records shows what it did; run it again to complete what is missing"
NOTHING = "no section had started, so nothing was written"
DASK = "dask://"

#: Starts a tenant; its future has how that ended.
Submit = Callable[[Task], "Future[Ended]"]


def run_at_once(
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval,
    observer: Observer,
    sections: Sequence[str],
    at_once: int,
    options: Mapping[str, Any] | None = None,
    *,
    run_ids: Sequence[str] = (),
    plans: Mapping[str, str] | None = None,
    brake: Brake | None = None,
    runner: str = "",
    batch: str = "",
) -> RunResult:
    """Run the sections' notebooks for tenants, at most ``at_once`` of them at a time.

    As ``run_tenants``, but the observer hears about a tenant's sections when it has ended, so that the lines
    of one tenant stay together; about its site's policy at once. A process that dies is a failed tenant. When
    this process is interrupted, it interrupts the others and waits for them; the remaining tenants are
    skipped.

    Raises ``InputError`` with the problems of all files before anything runs.
    """
    root, brake = project_root(), brake or Brake()
    jobs = jobs_of(
        *(root, site, tenants, mode, approval, tuple(sections), options or {}),
        run_ids=run_ids,
        plans=plans,
        batch=batch,
    )
    waiting, running = list(enumerate(jobs)), dict[Future[Ended], int]()
    results: dict[int, TenantResult] = {}
    heard: queue.SimpleQueue[tuple[Task, Event]] = queue.SimpleQueue()
    watch = Watch(lambda task, event: heard.put((task, event)))
    by_run = {job.folder.name: job for job in jobs}
    with interruptible() as interruption, interruption.held():
        aside = Aside(observer, interruption)
        following = _Following(aside, by_run)
        with _submitting(runner, at_once, watch) as submit:
            while running or (waiting and not watch.is_interrupted and not brake.stopped):
                while waiting and len(running) < at_once and not (watch.is_interrupted or brake.stopped):
                    index, job = waiting.pop(0)
                    running[submit(_task(job))] = index
                    aside.on_begun(job.tenant, job.folder)
                try:
                    with interruption.allowed():
                        done, _ = wait(running, POLL_S, FIRST_COMPLETED)
                except INTERRUPTIONS:
                    watch.is_interrupted = True
                    done = set[Future[Ended]]()
                following.hear(heard)
                for future in [future for future in running if future in done or future.done()]:
                    index = running.pop(future)
                    job, ended = jobs[index], _ended(future)
                    if isinstance(ended, BlockingIOError | MemoryError) and running:
                        waiting.insert(0, (index, job))  # no room for one more process: when one has ended
                        at_once = max(1, len(running))
                        continue
                    following.end(job, ended)
                    results[index] = result = _result(job, ended)
                    brake.saw(result)
        aside.attempt("writing the page over all records", write_index, records_folder(root))
    not_begun = tuple(job.tenant for index, job in enumerate(jobs) if index not in results)
    whole = tuple(results[index] for index in sorted(results))
    index_page = records_folder(root) / INDEX
    return RunResult(mode, whole, index_page, not_begun, tuple(aside.remarks), brake.stopped)


@contextmanager
def _submitting(runner: str, at_once: int, watch: Watch) -> Iterator[Submit]:
    """Yield what starts tenants: here, or on the workers of a Dask scheduler (``dask://HOST:PORT``)."""
    executor: Executor
    if runner:
        from .dask_runner import carry_out_once, executor_at  # an extra

        with executor_at(runner.removeprefix(DASK)) as executor:
            yield lambda task: executor.submit(carry_out_once, task)
        return
    forking.start_fork_server(for_batch=True)
    with ThreadPoolExecutor(at_once, thread_name_prefix="tenant") as executor:
        yield partial(_submit_here, executor, watch)


def _submit_here(executor: Executor, watch: Watch, task: Task) -> Future[Ended]:
    return executor.submit(carry_out, task, watch)


def _task(job: Job) -> Task:
    given = {**job.parameters}
    site, tenant, mode = given.pop("site"), given.pop("tenant"), given.pop("mode")
    approval = {name: given.pop(name) for name in GivenApproval.__annotations__ if name in given}
    approval |= {name: value for name, value in job.approval.items() if name not in approval}
    return Task(
        *(str(job.root), site, tenant, mode, job.folder.name, job.sections, approval, given, passed_on()),
        batch=job.batch,
    )


def _ended(future: Future[Ended]) -> Ended | BaseException:
    """How a tenant's process ended, or why it could not be started or is lost."""
    try:
        return future.result()
    except BaseException as error:  # also of a future that somebody else has cancelled
        return error


class _Following:
    """Passes on what running tenants report."""

    def __init__(self, aside: Aside, jobs: Mapping[str, Job]) -> None:
        self._aside = aside
        self._jobs = jobs
        self._done: dict[str, list[SectionResult]] = {run: [] for run in jobs}
        self._policies = set[str]()

    def hear(self, heard: queue.SimpleQueue[tuple[Task, Event]]) -> None:
        """Pass on what has been reported so far."""
        with suppress(queue.Empty):
            while True:
                task, event = heard.get_nowait()
                self._pass_on(self._jobs[task.run_id], *event)

    def end(self, job: Job, ended: Ended | BaseException) -> None:
        """Pass on all that a tenant has reported, in the order of its sections."""
        events = ended.events if isinstance(ended, Ended) else ()
        for event, what in events:
            if event == POLICY:
                self._policy(job, what)
        result = _result(job, ended)
        self._aside.on_tenant_start(result.tenant)
        for section in result.sections:
            self._aside.on_section_end(result.tenant, section)
        self._aside.on_tenant_end(result)
        for event, what in events:
            if event == REMARK:
                self._aside.remark(what)

    def _pass_on(self, job: Job, event: str, what: Any) -> None:
        done = self._done[job.folder.name]
        with suppress(TypeError, KeyError):  # not an event that we wrote
            if event == POLICY:
                self._policy(job, what)
            elif event == SECTION:
                done.append(_section(what))
            elif event == STARTED:
                self._aside.on_going(job.tenant, what, [*done])

    def _policy(self, job: Job, what: Any) -> None:
        if job.folder.name not in self._policies:
            self._policies.add(job.folder.name)
            self._aside.on_policy(*what)


def _result(job: Job, ended: Ended | BaseException) -> TenantResult:
    """What an ended process reported about its tenant, and what is known of one that reported no end."""
    if isinstance(ended, BaseException):
        return _lost(
            job, f"its process could not be started ({type(ended).__name__}: {ended})", cause_of(ended)
        )
    sections: dict[str, SectionResult] = {}
    begun, any_begun, errors, cause = job.order[0], False, list[str](), tuple[str, ...]()
    for event, what in ended.events:
        with suppress(TypeError, KeyError):  # not an event that we wrote
            if event == ENDED:
                done = tuple(_section(one) for one in what["sections"])
                return TenantResult(
                    *(job.site, job.tenant, Path(what["folder"]), done, what["problem"]),
                    tuple(what["record_cause"]),
                )
            if event == STARTED:
                begun, any_begun = what, True
            elif event == SECTION:
                sections[what["section"]] = _section(what)
            elif event == ERROR:
                errors.append(what["told"])
                cause = tuple(what["cause"])
    outcome = INTERRUPTED if ended.status in (-signal.SIGTERM, -signal.SIGINT) else FAILED
    left = LOOK if any_begun else NOTHING
    told = "\n".join(errors) or f"its process {_told(ended.status)} unexpectedly; {left}"
    if begun in sections:  # between two sections
        begun = next((one for one in job.order if one not in sections), begun)
    sections[begun] = SectionResult(
        begun, outcome, message=told, cause=cause or ("process", str(ended.status))
    )
    whole = tuple(sections.get(one, SectionResult(one, NOT_RUN)) for one in job.order)
    return TenantResult(job.site, job.tenant, job.folder, whole)


def _lost(job: Job, told: str, cause: tuple[str, ...]) -> TenantResult:
    """The result of a tenant of whose process nothing is known."""
    first, *others = job.order
    lost = SectionResult(first, FAILED, message=f"{scrub(told)}; {LOOK}", cause=cause)
    return TenantResult(
        job.site, job.tenant, job.folder, (lost, *(SectionResult(one, NOT_RUN) for one in others))
    )


def _section(told: Mapping[str, Any]) -> SectionResult:
    notebook = told["notebook"]
    to_look_at = tuple((why, setting) for why, setting in told["to_look_at"])
    own = {"notebook": Path(notebook) if notebook else None, "to_look_at": to_look_at}
    return SectionResult(**{**told, **own, "cause": tuple(told["cause"])})


def _told(status: int | None) -> str:
    return (
        f"was killed by {signal.Signals(-status).name}" if status and status < 0 else f"ended with {status}"
    )
