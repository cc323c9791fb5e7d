"""The ``runbook`` command.

Exit status: 0 fine (``plan``: nothing to change), 1 failed, 2 there are changes (``plan`` only),
3 the input or the usage is wrong; of several, 3 beats 1 beats 2 beats 0.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from . import records_cli, ssh, workspace_cli
from .batch.interruption import Interruption, interrupted_once
from .dial import dial_cautions
from .errors import InputError, RunbookError
from .guide import RETIRE, ROLL_BACK, RUN_ORDER, TRUNK_ORDER
from .notebook.display import visible
from .parameters import Tenant, load_all, load_site, project_root, secret_cautions
from .parameters.tenants import tenant_files
from .paths import current_folder, locate, near
from .plain_files import describe
from .records.record import EMERGENCY, REASON, TICKET
from .records.result import CHECKSUMS
from .records.versions import runbook_version
from .screen import complain, conclude, finish, guard, screen
from .statement import VALID_DAYS, Statement
from .workspace import VARIABLE, find_workspace, full_path

if TYPE_CHECKING:
    from .approval import GivenApproval
    from .batch import RunResult
    from .batch.batch_file import Batch

FINE, FAILED, CHANGES, WRONG_INPUT = 0, 1, 2, 3
SANDBOX_SITE = Path("parameters/sandbox/site.yaml")
#: The exit status that typer gives a command that Ctrl-C ended.
INTERRUPTED = 130
RUN_AGAIN = "Interrupted. Run it again: it reads the current state and completes what is missing."

app = typer.Typer(
    help="Connect PortSIP PBX tenants to Twilio Elastic SIP Trunking, and record every change.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(records_cli.app, name="records")
for command in (workspace_cli.init, workspace_cli.lab, workspace_cli.notebooks, workspace_cli.upgrade):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            envvar=VARIABLE,
            help="Folder of your parameters and records [default: the nearest folder with runbook.toml, from"
            " the current one upward].",
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Version, source, Python, workspace.")] = False,
) -> None:
    if workspace is not None:
        # For this process and those that it starts, wherever they run.
        os.environ[VARIABLE] = os.path.abspath(full_path(workspace, "--workspace"))
    if version:
        workspace_cli.show_version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


SiteFile = Annotated[Path, typer.Option("--site", "-s", help="Site file.")]
TenantFiles = Annotated[list[Path] | None, typer.Argument(help="Tenant files.")]
PlanFolder = Annotated[Path | None, typer.Option(help="Folder for the plan files (TENANT.plan.json).")]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="Apply exactly this plan (one tenant).")]
ApprovalFile = Annotated[
    Path | None, typer.Option("--approval", help="The signed approval [default: the one beside the plan].")
]
ApprovedPlan = Annotated[str | None, typer.Option(help="The digest that was approved.")]
ApprovedBy = Annotated[str | None, typer.Option(help="Who approved the plan.")]


def _for_the_record(name: str) -> Callable[[str | None], str | None]:
    """Pass an option on to a run's processes as the environment variable that the record is made from."""

    def keep(value: str | None) -> str | None:
        if value:
            os.environ[name] = value
        return value

    return keep


Ticket = Annotated[
    str | None,
    typer.Option(envvar=TICKET, callback=_for_the_record(TICKET), help="Ticket number for the record."),
]
Reason = Annotated[
    str | None,
    typer.Option(
        envvar=REASON, callback=_for_the_record(REASON), help="Reason for the change, for the record."
    ),
]
Emergency = Annotated[
    str | None,
    typer.Option(
        envvar=EMERGENCY,
        callback=_for_the_record(EMERGENCY),
        help="Why it cannot wait for an approval, if the site allows that; another person reviews it later.",
    ),
]
CarryOut = Annotated[bool, typer.Option("--apply", help="Apply the plan, and record the change.")]
AcceptInterruption = Annotated[
    bool, typer.Option("--accept-interruption", help="Allow rows that interrupt calls.")
]
AllTenants = Annotated[
    bool, typer.Option("--all", help="All tenants of the site: the files beside it, and below parameters/.")
]
TrunkName = Annotated[str | None, typer.Option(help="Instead of tenants: a shared trunk of the site.")]
AtOnce = Annotated[int, typer.Option(min=1, help="How many tenants at the same time.")]
PlansFolder = Annotated[
    Path | None,
    typer.Option(
        "--plans",
        help="Apply exactly the plans in this folder (runbook plan --out), one for each tenant, under one"
        " approval.",
    ),
]
MaxFailures = Annotated[
    int | None, typer.Option(min=1, help="Begin no further tenant when so many have failed.")
]
Resume = Annotated[str | None, typer.Option(help="Instead of tenants: what is left of this batch (its ID).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what happens as JSON, one event a line.")]
RunnerAddress = Annotated[
    str | None,
    typer.Option("--runner", help="Run tenants on the workers of a Dask scheduler: dask://HOST:PORT."),
]
SectionNumber = Annotated[str | None, typer.Option(help="Only this section of the guide, such as 03.")]


@app.command()
def demo() -> None:
    """Run the whole guide for the demo tenants on the sandbox."""
    root = project_root()
    site = root / SANDBOX_SITE
    try:
        tenants = tenant_files(site, root)
    except InputError as error:
        next_step = "make a workspace with those of the demo: runbook init FOLDER --sandbox"
        raise InputError(error.problems, next_step=next_step) from None
    raise typer.Exit(_run(site, tenants, "apply"))


@app.command()
def sandbox(
    twilio_port: Annotated[int, typer.Option(help="Port of Twilio's APIs; 0 for a free one.")] = 0,
    portsip_port: Annotated[int, typer.Option(help="Port of PortSIP's API; 0 for a free one.")] = 0,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Serve here; print the URLs as one JSON line.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the running sandbox.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Restore the demo data.")] = False,
) -> None:
    """Start, show, reset or stop the sandbox of this workspace."""
    import httpx

    from runbook_sandbox import process, server

    root = project_root()
    if foreground:
        raise typer.Exit(server.serve(root, twilio_port, portsip_port))
    if stop:
        screen.print("Sandbox stopped." if process.stop(root) else "No sandbox was running.")
        return
    running = process.ensure_running(root)
    if reset:
        httpx.post(f"{running.control_url}/reset", timeout=30, trust_env=False).raise_for_status()
        screen.print("The demo data has been restored.")
    screen.print(
        f"Twilio's APIs: {running.twilio_url}\nPortSIP's API: {running.portsip_url}\nCA: {running.ca_file}"
    )


@app.command()
def validate(tenants: TenantFiles = None, site: SiteFile = SANDBOX_SITE, every: AllTenants = False) -> None:
    """Check parameter files; sends nothing."""

    def check() -> int:
        given, owners = _owners(site, tenants, None, every)
        _caution(given, owners)
        files = "1 tenant file" if len(owners) == 1 else f"{len(owners)} tenant files"
        screen.print(f"{files} and the site: fine")
        return FINE

    raise typer.Exit(_guarded(check))


@app.command()
def dial(
    tenant: Annotated[Path, typer.Argument(help="Tenant file.")],
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NUMBER]...", help="Dialled numbers [default: each way of dialling]."),
    ] = None,
    site: SiteFile = SANDBOX_SITE,
    caller: Annotated[str | None, typer.Option("--from", help="The extension that dials.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Use all rules that the PBX has now, instead of the parameters.")
    ] = False,
    called: Annotated[
        bool, typer.Option("--called", help="The numbers are the tenant's own, called from outside.")
    ] = False,
) -> None:
    """Show where dialled numbers go and why; makes no call and changes nothing."""
    from . import dial as dialled

    def run() -> int:
        given, [owner] = _files(site, [tenant])
        dialled.show(given, owner, numbers or [], caller, screen, live=live, called=called)
        return FINE

    raise typer.Exit(_guarded(run))


@app.command()
def plan(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    out: PlanFolder = None,
    at_once: AtOnce = 1,
) -> None:
    """Plan tenants; changes nothing. Exit status 2 if there are changes."""
    from .batch.plans import plan_at_once, plan_tenant

    sections = _sections(section, trunk)
    site, owners = _owners(site, tenants, trunk, every)
    if min(at_once, len(owners)) > 1:
        raise typer.Exit(_worst(plan_at_once(site, owners, out, screen, sections, at_once)))
    _announce(site)
    statuses = [_guarded(partial(plan_tenant, site, owner, out, screen, sections)) for owner in owners]
    raise typer.Exit(_worst(statuses))


@app.command()
def approve(
    plan_files: Annotated[
        list[Path], typer.Argument(metavar="PLAN...", help="Plan files (runbook plan --out).")
    ],
    ticket: Annotated[str | None, typer.Option(help="The ticket that the approval is for.")] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days it is valid.")] = VALID_DAYS,
    key: Annotated[
        Path | None,
        typer.Option(help=f"SSH key, or the public half of one in the agent [default: {ssh.DEFAULT_KEY}]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The approval's file [default: beside the first plan].")
    ] = None,
    approval_file: Annotated[
        Path | None,
        typer.Option("--approval", help="Add a signature to this existing approval of the same plans."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
) -> None:
    """Show what plans change, and sign one approval for them as another person; writes FILE.approval.json."""
    from .approval import SEVERAL, approval_beside, read_plan, read_statement, sign_statement
    from .batch.plans import show_changes, show_statement

    def run() -> int:
        paths = [_given(path) for path in plan_files]
        plans = [read_plan(path) for path in paths]
        if approval_file is not None:
            where = _given(approval_file)
            statement, _ = read_statement(where)
            approved = [statement.line(one) for one in plans]
            if None in approved or {*approved} != {*statement.lines}:
                raise InputError(["--approval: name exactly the plans that it approves"])
        else:
            if not (ticket or "").strip():
                raise InputError(["--ticket: is missing: an approval belongs to a ticket"])
            try:
                statement = Statement.over(plans, str(ticket).strip(), days)
            except ValueError as error:
                raise InputError([str(error)]) from None
            several = paths[0].with_name(SEVERAL)
            where = out or (approval_beside(paths[0]) if len(paths) == 1 else several)
            if where.exists():
                raise InputError(
                    [f"{where} already exists: an approval is not overwritten (--out names another file)"]
                )
        for one in plans:
            show_changes(one, screen)
        show_statement(statement, screen)
        # As in the Apply form: another site can have a tenant with the same name.
        for name in dict.fromkeys(f"{statement.site}/{one.tenant}" for one in plans):
            if not yes and typer.prompt(f"To approve it, type {visible(name)}").strip() != name:
                raise InputError([f"the answer is not {name}: nothing was signed"])
        default = Path(os.path.expanduser(ssh.DEFAULT_KEY))
        signature = sign_statement(where, statement, _given(key) if key else default)
        screen.print(f"Signed: {escape(str(signature))}", soft_wrap=True)
        return FINE

    raise typer.Exit(_guarded(run))


@app.command()
def revoke(
    approval: Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's file, or its id.")],
    reason: Annotated[str, typer.Option(help="The reason, for the records.")],
) -> None:
    """Withdraw an approval, as an entry in the records; a run in progress writes no further section."""
    from .approval import read_statement
    from .batch.pages import renew_index
    from .records.uses import revoke as enter

    def run() -> int:
        path = _given(Path(approval))
        known = re.fullmatch(r"[0-9a-f]{32}", approval)
        found = approval if known and not path.is_file() else read_statement(path)[0].id
        records = find_workspace().records
        entry = enter(records, found, reason)
        screen.print(f"Revoked: {found}, {entry.digest}", soft_wrap=True)
        for caution in renew_index(records):
            complain(f"Caution: {caution}")
        return FINE

    raise typer.Exit(_guarded(run))


@app.command()
def apply(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    accept_interruption: AcceptInterruption = False,
    plan_file: PlanFile = None,
    approval_file: ApprovalFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    emergency: Emergency = None,
    plans: PlansFolder = None,
    at_once: AtOnce = 1,
    max_failures: MaxFailures = None,
    resume: Resume = None,
    as_json: AsJson = False,
    runner: RunnerAddress = None,
) -> None:
    """Carry out the guide for tenants, section by section, and keep the executed notebooks."""
    how = How(at_once, max_failures, as_json, _scheduler(runner))
    if resume is not None:
        if any((tenants, every, trunk, section, accept_interruption, plan_file, approval_file, plans)):
            raise typer.BadParameter("--resume: give no tenants, section, plan or approval with it")
        raise typer.Exit(_resume(resume, "apply", how))
    site, owners = _owners(site, tenants, trunk, every)
    if accept_interruption and len(owners) != 1:
        raise typer.BadParameter("--accept-interruption: give exactly one tenant file with it")
    sections = _sections(section, trunk)
    approval = _approval(plan_file, approval_file, approved_plan, approved_by, owners)
    named = trunk is not None and not as_json  # the record has them as well
    if named and (status := _guarded(lambda: _name_affected(site, f"trunk:{trunk}"))):
        raise typer.Exit(status)
    options = {"accept_interruption": True} if accept_interruption else {}
    raise typer.Exit(_run(site, owners, "apply", approval, sections, options, how, plans))


@app.command()
def verify(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    at_once: AtOnce = 1,
    max_failures: MaxFailures = None,
    resume: Resume = None,
    as_json: AsJson = False,
    runner: RunnerAddress = None,
) -> None:
    """Compare tenants with the guide's expected results; changes nothing."""
    how = How(at_once, max_failures, as_json, _scheduler(runner))
    if resume is not None:
        if any((tenants, every, trunk, section)):
            raise typer.BadParameter("--resume: give no tenants or section with it")
        raise typer.Exit(_resume(resume, "verify", how))
    sections = _sections(section, trunk)
    site, owners = _owners(site, tenants, trunk, every)
    raise typer.Exit(_run(site, owners, "verify", sections=sections, how=how))


@app.command()
def drift(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    metrics: Annotated[
        Path | None, typer.Option(help="Also write this file for node_exporter (NAME.prom).")
    ] = None,
    post: Annotated[
        str | None,
        typer.Option(help="If something differs, post a summary to the URL at this reference (env:NAME)."),
    ] = None,
) -> None:
    """Show what differs from the parameters, and who changed it; changes nothing. Status 2: differences."""
    from .drift_cli import drift as look

    def run() -> int:
        given, owners = _owners(site, tenants, None, every)
        return look(given, [Path(owner) for owner in owners], as_json=as_json, metrics=metrics, post_to=post)

    raise typer.Exit(_guarded(run))


@app.command()
def discover(
    site: SiteFile = SANDBOX_SITE,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the files [default: that of the site's file].")
    ] = None,
) -> None:
    """Write parameter files for what was set up by hand; changes nothing at the vendors, and no file."""
    from .discover_cli import discover as find

    raise typer.Exit(_guarded(lambda: find(_files(site, [])[0], to)))


@app.command()
def rollback(
    record: Annotated[str, typer.Argument(help="Run ID of the record, from runbook records list.")],
    tenant: Annotated[
        Path | None, typer.Option("--tenant", "-t", help="Tenant file, if it has moved.")
    ] = None,
    site: Annotated[Path | None, typer.Option("--site", "-s", help="Site file, if it has moved.")] = None,
    section: Annotated[
        list[str] | None, typer.Option(help="Only what this section did; can be repeated.")
    ] = None,
    carry_out: CarryOut = False,
    accept_interruption: AcceptInterruption = False,
    out: PlanFolder = None,
    plan_file: PlanFile = None,
    approval_file: ApprovalFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    emergency: Emergency = None,
) -> None:
    """Show (with --apply: make) the changes that undo a record. Exit status 2 if the plan has changes."""
    from .records.to_undo import files_of

    def run() -> int:
        where: Path
        owner: Path | str
        if site and tenant:  # also for records outside the chain, which name no files
            run_id = record.rstrip("/").rpartition("/")[2]
            where, [owner] = _files(site, [tenant])
        else:
            run_id, files = files_of(find_workspace().records, record)
            # Paths in a record start at the workspace, wherever this is called.
            where = _given(site) if site else project_root() / files["site"]
            owner = _given(tenant) if tenant else _recorded(files["tenant"])
        options = {
            "record": run_id,
            "only": list(section or []),
            "accept_interruption": accept_interruption,
        }
        approval = _approval(plan_file, approval_file, approved_plan, approved_by)
        return _way_back(where, [owner], ROLL_BACK, options, carry_out, approval, out)

    raise typer.Exit(_guarded(run))


@app.command()
def retire(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    trunk: TrunkName = None,
    carry_out: CarryOut = False,
    accept_interruption: AcceptInterruption = False,
    out: PlanFolder = None,
    plan_file: PlanFile = None,
    approval_file: ApprovalFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    emergency: Emergency = None,
) -> None:
    """Show (with --apply: make) the changes that retire tenants. Exit status 2 if the plan has changes."""
    site, owners = _owners(site, tenants, trunk)
    approval = _approval(plan_file, approval_file, approved_plan, approved_by, owners)
    options = {"accept_interruption": accept_interruption}
    raise typer.Exit(_guarded(lambda: _way_back(site, owners, RETIRE, options, carry_out, approval, out)))


@app.command("sign-in")
def sign_in(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    clear: Annotated[
        bool,
        typer.Option(
            "--clear",
            help="Forget a refused sign-in (after correcting the password), and sign out of kept sessions.",
        ),
    ] = False,
) -> None:
    """Test the sign-in to the PBX; if it asks for one-time codes, keep the sessions for the next runs."""
    from . import sign_in as signing_in

    root = project_root()
    given, owners = _files(site, tenants or [])

    def run() -> int:
        if clear:
            for line in signing_in.clear(load_site(given, root), root):
                screen.print(Text(line))
            return FINE
        domains = [
            owner.pbx_domain for _, owner in load_all(given, owners, root) if isinstance(owner, Tenant)
        ]
        ask = partial(typer.prompt, "One-time code that the PBX sent", hide_input=sys.stdin.isatty())
        for line in signing_in.sign_in(load_site(given, root), root, domains, ask):
            screen.print(Text(line))
        return FINE

    raise typer.Exit(_guarded(run))


def _owners(
    site: Path, tenants: list[Path] | None, trunk: str | None, every: bool | None = None
) -> tuple[Path, list[Path | str]]:
    """The site's file, and in the tenants' place: files, those of all, or the shared trunk.

    ``every`` is None for a command that has no ``--all``.
    """
    if [bool(tenants), trunk is not None, bool(every)].count(True) != 1:
        all_of_them = "" if every is None else "--all, or "
        raise typer.BadParameter(f"give tenant files, or {all_of_them}--trunk NAME")
    path, owners = _files(site, tenants or [])
    if every:
        owners = tenant_files(path, project_root())
    return path, [*owners] if owners else [f"trunk:{trunk}"]


def _files(site: Path, tenants: Sequence[Path]) -> tuple[Path, list[Path]]:
    """The full paths of a run's files; prints a note if relative ones come from two folders."""
    found = {typed: _given(typed) for typed in (site, *tenants)}
    here = current_folder()
    relative = [(typed, path) for typed, path in found.items() if path.is_absolute() and path != typed]
    if len({here is not None and path == here / typed for typed, path in relative}) > 1:
        names = ", ".join(str(path) for _, path in relative)
        complain(f"Note: these files come from two folders, the current one and the workspace: {names}")
    return found[site], [found[typed] for typed in tenants]


def _recorded(owner: str) -> Path | str:
    """A tenant's file, or a shared trunk, as a record names it."""
    return owner if owner.startswith("trunk:") else project_root() / owner


def _approval(
    plan_file: Path | None,
    approval_file: Path | None,
    approved_plan: str | None,
    approved_by: str | None,
    owners: Sequence[Path | str] = ("",),
) -> GivenApproval:
    if plan_file is not None and len(owners) != 1:
        raise typer.BadParameter("a plan is for one tenant: give exactly one tenant file with --plan")
    return {
        "plan_file": str(_given(plan_file)) if plan_file else None,
        "approved_plan": approved_plan,
        "approved_by": approved_by,
        "approval_file": str(_given(approval_file)) if approval_file else None,
    }


def _way_back(
    site: Path,
    owners: Sequence[Path | str],
    section: str,
    options: Mapping[str, object],
    carry_out: bool,
    approval: GivenApproval,
    out: Path | None,
) -> int:
    """Show the plan of a rollback or retirement for each tenant, or apply it."""
    from .batch.plans import plan_tenant

    if carry_out:
        return _run(site, owners, "apply", approval, (section,), options)
    _announce(site)
    statuses = [
        _guarded(partial(plan_tenant, site, owner, out, screen, (section,), options)) for owner in owners
    ]
    return _worst(statuses)


def _sections(section: str | None, trunk: str | None) -> tuple[str, ...]:
    """The sections to run: the requested one, or empty for all of them."""
    order = TRUNK_ORDER if trunk else RUN_ORDER
    if section is None:
        return ()
    section = section.zfill(2)  # the guide says section 3
    if section not in order:
        raise typer.BadParameter(f"--section: {section!r} is not one of {', '.join(sorted(order))}")
    return (section,)


def _name_affected(site: Path, trunk: str) -> int:
    """Name the tenants on a shared trunk before it is changed."""
    from .runbook import Runbook

    with Runbook.open(site, trunk) as runbook:
        names = [tenant["name"] for tenant in runbook.tenants_affected()]
    screen.print(Text(f"Tenants affected: {visible(', '.join(names)) or 'none'}"))
    return FINE


@dataclass(frozen=True)
class How:
    """How tenants are run: how many at once, when no further one begins, what is printed, and where."""

    at_once: int = 1
    max_failures: int | None = None
    as_json: bool = False
    runner: str = ""


def _scheduler(runner: str | None) -> str:
    """A runner's address, which has to be a Dask scheduler's."""
    if runner and not re.fullmatch(r"dask://[^/\s:]+:\d+", runner):
        raise typer.BadParameter("--runner: give dask://HOST:PORT")
    return runner or ""


def _run(
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval | None = None,
    sections: tuple[str, ...] = (),
    options: Mapping[str, object] | None = None,
    how: How = How(),
    plans: Path | None = None,
) -> int:
    """Run the notebooks of tenants, one after the other or some at once, and show what happened."""
    from .batch import run_tenants
    from .batch.batches import batch_of
    from .batch.progress import observer_of

    def run() -> int:
        given = approval or {}
        if not how.as_json:
            _announce(site)
        _caution(site, tenants)
        if len(tenants) > 1 or how.runner or plans is not None:
            return _run_batch(batch_of(site, tenants, mode, given, sections, options or {}, plans), how)
        with observer_of(screen, 1, as_json=how.as_json) as progress:
            result = run_tenants(site, tenants, mode, given, progress, sections, options)
        return _show(result, how)

    return _guarded(run)


def _resume(batch_id: str, mode: str, how: How) -> int:
    """Run what is left of a batch."""
    from .batch.batch_file import Batch
    from .records.result import now

    def run() -> int:
        batch = Batch.find(find_workspace().records, batch_id)
        if batch.mode != mode:
            raise InputError([f"--resume: batch {batch.id} is of runbook {batch.mode}"])
        if not batch.left:
            screen.print(Text(f"Nothing is left of batch {batch.id}: all its tenants have succeeded."))
            return FINE
        site, left = project_root() / batch.site, [_recorded(part.file) for part in batch.left]
        if not how.as_json:
            _announce(site)
        os.environ.update({name: text for name, text in batch.environment.items() if name not in os.environ})
        _caution(site, left)
        batch.resumed.append(now())
        return _run_batch(batch, how)

    return _guarded(run)


def _run_batch(batch: Batch, how: How) -> int:
    from .batch.batches import run_batch
    from .batch.progress import observer_of

    with observer_of(screen, how.at_once, len(batch.left), as_json=how.as_json) as progress:
        result = run_batch(
            batch, progress, at_once=how.at_once, max_failures=how.max_failures, runner=how.runner
        )
    return _show(result, how)


def _show(result: RunResult, how: How) -> int:
    """Print the end of one or more runs, and return the exit status."""
    from .batch.progress import as_event, plain_summary, summary

    if how.as_json:
        print(as_event(result), flush=True)
    else:
        screen.print(summary(result))
    runs = [tenant.folder for tenant in result.tenants]
    for remark in (*result.remarks, *_kept_elsewhere(result.index.parent, runs)):
        complain(f"The run itself was not affected by this: {remark}")
    if result.stopped:
        complain(f"Stopped: {result.stopped}.")
    if result.not_begun and not result.batch:
        complain(RUN_AGAIN)
    conclude(*plain_summary(result))
    return result.exit_status


def _kept_elsewhere(records: Path, runs: Sequence[Path]) -> list[str]:
    """Store the newest head elsewhere if this batch has closed a record; return why if that failed."""
    from .records.anchor import head_cautions

    return head_cautions(records) if any(os.path.lexists(run / CHECKSUMS) for run in runs) else []


def _guarded(call: Callable[[], int]) -> int:
    """The exit status of a command, or of one tenant's part of it; an error does not affect other tenants."""
    try:
        return call()
    except InputError as error:
        complain(str(error))
        return WRONG_INPUT
    except RunbookError as error:
        complain(str(error))
        return FAILED
    except (typer.Abort, typer.Exit, typer.BadParameter):
        raise
    except OSError as error:  # not reported elsewhere: a folder that cannot be written, a failing disk
        complain(describe(error))
        return FAILED
    except Exception:
        # A bug in the runbook; what Python would print about it could contain a secret.
        complain(traceback.format_exc())
        return FAILED


def _worst(statuses: list[int]) -> int:
    return max(statuses, key=[FINE, CHANGES, FAILED, WRONG_INPUT].index, default=FINE)


def _announce(site: Path) -> None:
    """Show where a run works, on its first line, for users with several checkouts or sites."""
    workspace, version = find_workspace(), runbook_version()["version"]
    with suppress(InputError):  # reported by the run itself, with all other problems
        the_site = load_site(site, workspace.folder)
        line = f"Workspace {workspace.folder} · records {near(workspace.records, workspace.folder)}"
        line += f" · site {the_site.name} ({the_site.target}) · runbook {version}"
        screen.print(Text(visible(line), style="bold"), soft_wrap=True)
        if the_site.target == "sandbox":
            screen.print("Both vendors are simulated on this machine; nothing real is changed.\n")


def _caution(site: Path, owners: Sequence[Path | str]) -> None:
    """Check the parameters, and print cautions: secrets that others can access, call rules."""
    root = project_root()
    loaded = load_all(site, owners, root)
    for line in dict.fromkeys(line for each in loaded for line in secret_cautions(*each, root)):
        complain(f"Caution: {line}")
    for line in dial_cautions(tenant for _, tenant in loaded):
        complain(f"Caution: {line}")


def _given(path: Path) -> Path:
    """The full path of a file named on the command line; unchanged if there is no such file.

    Raises ``InputError`` if it could mean either of two files that differ.
    """
    return locate(path, current_folder(), project_root()) or path


def main() -> None:
    """Run the command; usage errors end with the status of wrong input, Ctrl-C with that of a failure."""
    if not os.path.isabs(os.path.expanduser("~")):
        # An account without a home: as container runtimes do; Jupyter's packages need one to be imported.
        os.environ["HOME"] = "/"
    interruption = interrupted_once()
    guard()
    # Libraries log warnings about an ended kernel that mean nothing here.
    logging.getLogger().addHandler(logging.NullHandler())
    status = FAILED
    try:
        status = _guarded(lambda: _command(interruption))
        finish()
    except KeyboardInterrupt:  # while the end was being reported
        pass
    interruption.ignore()
    raise SystemExit(status)


def _command(interruption: Interruption) -> int:
    try:
        with interruption.allowed():  # it may have come while the command was being loaded
            status = app(standalone_mode=False) or FINE
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except Exception as error:
        # A usage error, of whichever click typer stands on.
        show = getattr(error, "show", None)
        if show is None:
            raise
        usage = io.StringIO()
        show(usage)
        complain(usage.getvalue())
        status = WRONG_INPUT
    if status == INTERRUPTED:
        complain(RUN_AGAIN)
        status = FAILED
    return status
