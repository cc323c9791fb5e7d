"""One tenant: orders the sections, has mode, plan and journal, and saves each section's result.

Every write is in the register, whatever starts it. The runner opens one record for all sections
of a run. Outside it (papermill alone, ``execute_notebook``, nbconvert, a Python script) each ``apply``
opens its own record, writes, reads back and closes it in one call, even if it has nothing to write
or raises an error.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic_core import to_jsonable_python

from .approval import Approval, approval_of, refuse_out_of_time
from .context import Context
from .errors import InputError, RunbookError
from .facts.estate import Estate
from .facts.sharing import join_run
from .facts.side_by_side import side_by_side
from .guide import ROLL_BACK
from .identity import plain_identities
from .parameters import Source, load, project_root
from .paths import near
from .plain_files import read_mapping
from .plan import Plan, Slice
from .records import living
from .records.first_block import FirstBlock, first_block
from .records.journal import FILE_NAME, Journal, writes_in
from .records.policy import policy_of, require_floor, target_of
from .records.record import REASON, TICKET, open_record
from .records.result import new_run_id, now, run_folder
from .records.run_folder import OPENING, is_open
from .records.summary import summarize
from .records.to_undo import record_to_undo
from .records.uses import register_of
from .secret import scrub_data
from .section_run import ALL_SECTIONS, SectionRun
from .sections import Section, Verification
from .version import VERSION
from .workspace import records_folder

MODES = ("plan", "apply", "verify")
#: How a record describes parameters that do not come from a file.
AS_CONTENT = "(passed as content)"
#: … and an executed notebook that the runner did not run.
KEPT_ELSEWHERE = "kept by papermill, not here"


class Runbook:
    """The runbook of one tenant.

    Use ``Runbook.open``; as a context manager it signs out at the end.
    """

    def __init__(
        self,
        context: Context,
        folder: Path,
        mode: str,
        sections: tuple[str, ...] = (),
    ) -> None:
        self.context = context
        self.folder = folder
        self.mode = mode
        #: The parameters' sources, for a record: files, or content that was passed.
        self.sources: Mapping[str, Source] = {}
        self.approval: Approval | None = None
        #: The questions asked of each section in this moment: asking again means reading again.
        self.asked: set[tuple[str, str]] = set()
        #: Cautions about the state from which the newest whole plan was made.
        self.cautions: list[str] = []
        #: The sections of the newest whole plan, as read.
        self._planned: list[Section] = []
        self._sections = sections

    @classmethod
    def open(
        cls,
        site: Source,
        tenant: Source,
        *,
        mode: str = "plan",
        plan_file: str | None = None,
        approved_plan: str | None = None,
        approved_by: str | None = None,
        sections: Sequence[str] = (),
        record: str | None = None,
        only: Sequence[str] = (),
        accept_interruption: bool = False,
        approval_file: str | None = None,
        estate: Estate | None = None,
    ) -> Self:
        """Check the parameters and prepare the run; sends no request.

        Parameters
        ----------
        site, tenant
            A file's path, or its content as papermill injects it; ``"trunk:NAME"`` in the tenant's
            place for a shared trunk on its own. A relative path, also of the plan's file, is looked
            up in the current folder and then in the workspace.
        mode
            ``"plan"``, ``"apply"`` or ``"verify"``.
        plan_file, approved_plan, approved_by
            For ``apply``: the plan's file, the digest that was approved, and by whom. A signed approval
            says both; see ``approval``.
        sections
            The sections to run, in this order; the whole guide without.
        record, only
            For section 90: the run id of the record to roll back (``None``: the tenant's newest in the
            chain), and the sections of it (none: all).
        accept_interruption
            Allow rows that interrupt calls, as the tenant's parameter of that name does.
        approval_file
            The signed approval; without it, the one beside the plan's file.
        estate
            A reading of the site that serves several tenants; not for ``apply``.

        Raises ``InputError`` with all problems at once, ``ApprovalError`` for a plan that is not
        for this tenant and target or not the one that was approved.
        """
        if mode not in MODES:
            raise InputError(
                [f"mode: {mode!r} is not one of {', '.join(MODES)}"],
                next_step=f"set mode to one of {', '.join(MODES)}; to look first, choose plan",
            )
        if estate is not None and mode == "apply":
            raise InputError(["estate: not allowed for apply, which reads the state under its own lock"])
        root = project_root()
        the_site, the_tenant = load(site, tenant, root)
        records = records_folder(root) / the_site.name
        folder = run_folder(root, the_site.name, the_tenant.name)
        account = the_site.twilio_accounts[the_tenant.trunk_of(the_site).account_name(the_site)]
        target = target_of(the_site, account.account_sid)
        to_undo = None
        if ROLL_BACK in sections:
            declared = to_jsonable_python({"site": the_site, "tenant": the_tenant})
            to_undo = record_to_undo(
                records.parent, records / the_tenant.name, record, only, target, declared
            )
        journal = Journal(folder / FILE_NAME, scrub_data, target)
        context = Context(root, records, the_site, the_tenant, journal, to_undo, estate)
        context.accept_interruption |= accept_interruption
        for section in sections:
            context.scope.require(section)
        runbook = cls(context, folder, mode, tuple(sections))
        runbook.sources = {"site": site, "tenant": tenant}
        if mode == "apply":
            require_floor(target, policy_of(the_site, root))
            runbook.approval = approval_of(
                context, runbook.target, plan_file, approved_plan, approved_by, approval_file
            )
            if runbook.approval and (use := runbook.approval.use):
                journal.before_first_write = lambda: refuse_out_of_time(context, use)
        return runbook

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    @property
    def run_id(self) -> str:
        """The run's id: the name of its folder."""
        return self.folder.name

    @property
    def approved(self) -> Plan | None:
        """The plan that was approved; ``None`` for an auto-approval."""
        return self.approval.plan if self.approval else None

    @property
    def approved_by(self) -> dict[str, str]:
        """Who approved it, and how that is known."""
        return self.approval.by if self.approval else {"how": "auto-approval"}

    @property
    def kept(self) -> dict[str, Any]:
        """The policy and approval that the run's opening must record: arguments of ``open_record``."""
        if self.mode != "apply":
            return {}
        policy = {"policy": policy_of(self.context.site, self.context.root)}
        approval = {"kept": self.approval.files, "use": self.approval.use} if self.approval else {}
        return policy | approval

    @property
    def target(self) -> dict[str, str]:
        """What a plan of this runbook is for."""
        target, undoes = self.context.journal.target, self.context.undoes
        return target if undoes is None else {**target, "undoes": undoes.identity}

    @property
    def order(self) -> tuple[str, ...]:
        """The sections in the order in which they are run."""
        if self._sections:
            return self._sections
        return self.context.scope.sections

    def tenants_affected(self) -> list[dict[str, str]]:
        """Read which tenants share the trunk (``name``, ``pbx_domain``), by name; none for a tenant's own."""
        context = self.context
        trunk = context.pbx_trunk.find() if context.scope.is_shared else None
        if trunk is None:
            return []
        ids = {
            one["tenant_id"] for one in context.pbx.system.get(f"/providers/{trunk['id']}/assignees")["items"]
        }
        return sorted(context.pbx.tenants(ids), key=lambda tenant: tenant["name"])

    @property
    def approver(self) -> dict[str, Any]:
        """Who approved which plan, as a record has it."""
        plan = self.approved
        if plan is None:
            return {"plan": None, "by": self.approved_by}
        return {"plan": plan.digest, "by": self.approved_by, "author": [*plan.author]}

    @property
    def is_recorded(self) -> bool:
        """Whether this section belongs to a run of the runner, which keeps the record of all its sections."""
        return is_open(self.folder) and living.is_going_on(self.folder)

    def open_own_record(self, number: str) -> None:
        """Open a record for one section's ``apply``; another one, beside it, for each after the first."""
        context = self.context
        # For a shared trunk on its own, the affected tenants; read before anything is opened.
        affected = None if context.scope.has_tenant else self.tenants_affected()
        if self.folder.exists():
            # Another section's, or of a run that died; files that a page put there remain a plan's.
            self.folder = self.folder.with_name(new_run_id())
            context.journal.move_to(self.folder / FILE_NAME)
        files = {
            name: near(Path(source), context.root) if isinstance(source, str | Path) else AS_CONTENT
            for name, source in self.sources.items()
        }
        open_record(
            context.records.parent,
            self.folder,
            mode=self.mode,
            site=context.site.name,
            tenant=context.owner.name,
            target=self.target,
            order=(number,),
            parameters=to_jsonable_python({"site": context.site, "tenant": context.owner}),
            files=files,
            approval=self.approver,
            affected=affected,
            notebook=KEPT_ELSEWHERE,
            workspace=context.root,
            **self.kept,
        )

    def section(self, number: str) -> SectionRun:
        """Return the run of one section; ``KeyError`` for a number that the guide does not have.

        Raises ``InputError`` for a section that does not apply to a shared trunk on its own.
        """
        self.context.scope.require(number)
        return SectionRun(self, number)

    def first_block(self, *results: Mapping[str, Any]) -> FirstBlock:
        """Return what the record of these sections says first, at present; from their results, in order."""
        first, last = results[0], results[-1]
        numbers = {result["section"] for result in results}
        facts = {
            "site": self.context.site.name,
            "ticket": os.environ.get(TICKET) or None,
            "reason": os.environ.get(REASON) or None,
            **{key: first[key] for key in ("mode", "tenant", "target", "operator")},
        }
        opening = facts | read_mapping(self.folder / OPENING)
        ended = {"started": first["started"], "outcome": last["outcome"]}
        own = [write for write in writes_in(self.folder) if write["section"] in numbers]
        return first_block(scrub_data(summarize(opening, ended, results, own, "")))

    def plan(self) -> Plan:
        """Plan the sections in the order in which they are applied; reads only.

        Each section counts those before it as applied, so that a tenant can be planned before
        any of it exists. For one section alone nothing counts as applied: what it waits for is ``blocked``.
        A run of the runner goes on with what it has read so far.
        """
        self.context.moment.begin()  # asking again means reading the present state
        if self.is_recorded:
            join_run(self.context.moment, self.context.journal.clocks, self.run_id)
        sections, ahead = [], frozenset[str]()
        for number in self.order:
            sections.append(ALL_SECTIONS[number](self.context, ahead))
            ahead |= {number}
        if len(sections) > 1:
            # Their reads are sent side by side, and then serve them one after the other.
            _ = self.context.twilio, self.context.pbx
            side_by_side(*(section.read for section in sections))
            slices = [section.planned() for section in sections]
        else:
            slices = [section.plan() for section in sections]
        self.cautions = [caution for section in sections for caution in section.cautions()]
        self._planned = sections
        return self.plan_of(*slices)

    def permitted(self) -> Plan:
        """Return the newest plan from the state as read, as if changes that interrupt calls were allowed."""
        with self.context.interruption_permitted():
            return self.plan_of(*(section.planned() for section in self._planned))

    def read_back(self, sections: Sequence[str]) -> Iterator[tuple[str, Verification | RunbookError]]:
        """Yield what reading back each section shows; a section that fails keeps no other from being read."""
        self.context.moment.begin()
        for number in sections:
            try:
                yield number, ALL_SECTIONS[number](self.context).verify(wait=False)
            except RunbookError as error:
                yield number, error

    def plan_of(self, *slices: Slice) -> Plan:
        """Return these sections' parts as a plan of this tenant."""
        return Plan(
            self.target,
            self.context.owner.name,
            self.context.settings.secret_references(),
            slices,
            now(),
            secrets.token_hex(16),
            tuple(plain_identities()),
            register_of(self.context.records.parent),
            VERSION,
        )
