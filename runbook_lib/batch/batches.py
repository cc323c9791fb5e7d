"""Batches: several tenants with an id, a file and a page among the records, which can be resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..approval import SEVERAL, GivenApproval
from ..errors import InputError
from ..parameters import load_all, project_root, settled
from ..parameters.loading import SHARED
from ..paths import current_folder, locate, near
from ..plain_files import describe
from ..records.record import EMERGENCY, REASON, TICKET
from ..records.result import new_run_id, now
from ..records.run_folder import run_name
from ..secret import scrub
from ..workspace import records_folder
from .at_once import run_at_once
from .batch_file import Batch, Part
from .brake import Brake
from .observer import Observer
from .pages import write_batch_page
from .plans import plan_name
from .results import RunResult, SectionResult, TenantResult
from .runner import run_tenants


def batch_of(
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval,
    sections: Sequence[str],
    options: Mapping[str, Any],
    plans: Path | None = None,
) -> Batch:
    """Return a new batch; nothing is written.

    ``plans`` is a folder with a plan for each tenant, as ``runbook plan --out`` writes them. One approval in
    it may cover them all (``runbook approve PLAN...``).

    Raises ``InputError`` for a tenant without a plan.
    """
    root = project_root()
    loaded = load_all(site, tenants, root)
    parts = [
        Part(source if isinstance(source, str) else near(settled(source, root), root), tenant=owner.name)
        for source, (_, owner) in zip(tenants, loaded, strict=True)
    ]
    if plans is not None:
        folder = locate(plans, current_folder(), root) or plans
        missing = []
        for part in parts:
            path = folder / plan_name(part.tenant, sections)
            part.plan = near(path.absolute(), root)
            if not path.is_file():
                missing.append(f"--plans: there is no plan for {part.tenant}: {path}")
        if missing:
            raise InputError(missing, next_step=f"make the missing plans with: runbook plan --out {folder}")
        shared = folder / SEVERAL
        if not approval.get("approval_file") and shared.is_file():
            approval = {**approval, "approval_file": str(shared)}
    return Batch.new(
        records_folder(root),
        target=loaded[0][0].target,
        site=near(settled(site, root), root),
        mode=mode,
        sections=[*sections],
        options=dict(options),
        approval={name: value for name, value in approval.items() if value},
        environment={name: os.environ[name] for name in (TICKET, REASON, EMERGENCY) if name in os.environ},
        parts=parts,
    )


def run_batch(
    batch: Batch, observer: Observer, *, at_once: int, max_failures: int | None = None, runner: str = ""
) -> RunResult:
    """Run the remaining tenants of a batch, and keep its file and page up to date.

    ``max_failures`` as for ``Brake``, the others as for ``run_at_once``. The batch's files are only for
    resuming and reading: if they cannot be written, that is a remark.

    Raises ``InputError`` with the problems of all files before anything runs, ``LockedError`` if somebody
    else runs this batch.
    """
    left, root = batch.left, project_root()
    runs = {new_run_id(): part for part in left}
    keeper = _Keeper(batch, runs, observer)
    tenants: list[Path | str] = [_source(part, root) for part in left]
    plans = {str(_source(part, root)): str(root / part.plan) for part in left if part.plan}
    shared = (root / batch.site, tenants, batch.mode, cast(GivenApproval, dict(batch.approval)), keeper)
    brake = Brake(max_failures)
    batch.ended, batch.stopped = None, None
    with keeper.held():
        if runner or min(at_once, len(left)) > 1:
            result = run_at_once(
                *shared,
                batch.sections,
                at_once,
                batch.options,
                run_ids=[*runs],
                plans=plans,
                brake=brake,
                runner=runner,
                batch=batch.id,
            )
        else:
            result = run_tenants(
                *(*shared, batch.sections, batch.options),
                run_ids=[*runs],
                plans=plans,
                brake=brake,
                batch=batch.id,
            )
        batch.ended = now()
        batch.stopped = result.stopped.name if result.stopped else None
        keeper.write()
        with keeper.noting("the batch's page"):
            write_batch_page(batch)
    remarks = (*result.remarks, *keeper.remarks)
    page = batch.page if batch.page.is_file() else None
    return replace(result, remarks=remarks, batch=batch.id, page=page)


def _source(part: Part, root: Path) -> Path | str:
    return part.file if part.file.startswith(SHARED) else root / part.file


class _Keeper(Observer):
    """Keeps a batch's file, and passes everything on to another observer."""

    def __init__(self, batch: Batch, runs: dict[str, Part], observer: Observer) -> None:
        self._batch = batch
        self._runs = runs
        self._observer = observer
        self.remarks: list[str] = []
        self._is_written = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one who runs this batch; ``LockedError`` if somebody else does."""
        with ExitStack() as stack:
            with self.noting("the batch's folder"):
                stack.enter_context(self._batch.held())
            yield

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note an error of the file system as a remark."""
        try:
            yield
        except OSError as error:
            remark = scrub(f"{what} cannot be written ({describe(error)})")
            if remark not in self.remarks:
                self.remarks.append(remark)

    def write(self) -> None:
        """Write the batch's file."""
        with self.noting("the batch's file"):
            self._batch.write()

    def on_begun(self, tenant: str, folder: Path) -> None:
        if not self._is_written:  # whatever is wrong with the input has been found by now
            self._is_written = True
            self.write()
        self._observer.on_begun(tenant, folder)

    def on_tenant_start(self, tenant: str) -> None:
        self._observer.on_tenant_start(tenant)

    def on_policy(self, tenant: str, seen: str) -> None:
        self._observer.on_policy(tenant, seen)

    def on_going(self, tenant: str, section: str, done: Sequence[SectionResult]) -> None:
        self._observer.on_going(tenant, section, done)

    def on_section_start(self, tenant: str, section: str) -> None:
        self._observer.on_section_start(tenant, section)

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        self._observer.on_section_end(tenant, result)

    def on_tenant_end(self, result: TenantResult) -> None:
        if part := self._runs.get(result.folder.name):
            part.tenant, part.outcome, part.cause = result.tenant, result.outcome, [*result.cause]
            part.changes, part.writes, part.seconds = result.changes, result.writes, round(result.seconds, 1)
            part.runs.append(run_name(result.folder.parents[2], result.folder))
            self.write()
        self._observer.on_tenant_end(result)
