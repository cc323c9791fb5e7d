"""The runs of a batch: checked and named before the first of them begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from ..approval import GivenApproval
from ..guide import SECTIONS
from ..parameters import load_all, settled
from ..paths import current_folder, locate, near
from ..records.result import RUN_FOLDER, new_run_id
from ..runbook import Runbook
from ..workspace import records_folder

#: The parameters of a notebook that name files.
FILES = ("site", "tenant", "plan_file")


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
    #: As it was given, for a separate process.
    approval: Mapping[str, Any] = field(default_factory=dict)
    #: The batch that it belongs to.
    batch: str = ""

    def output(self, part: str) -> Path:
        """Where the executed notebook of a section goes, or of all of them (``WHOLE``)."""
        return self.folder / f"{SECTIONS[part].notebook if part in SECTIONS else part}.ipynb"

    @property
    def mode(self) -> str:
        """``"plan"``, ``"apply"`` or ``"verify"``."""
        mode: str = self.parameters["mode"]
        return mode

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
