"""The ``runbook`` command.

Exit status: 0 fine (``plan``: nothing to change), 1 failed, 2 there are changes (``plan`` only),
3 the input or the usage is wrong; of several, 3 beats 1 beats 2 beats 0.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from . import records_cli
from .errors import InputError, RunbookError
from .guide import RETIRE, ROLL_BACK, RUN_ORDER, TRUNK_ORDER
from .notebook.display import visible
from .parameters import load_all, load_site, project_root
from .plain_files import describe
from .records.record import REASON, TICKET
from .secret import scrub

FINE, FAILED, CHANGES, WRONG_INPUT = 0, 1, 2, 3
SANDBOX_SITE = Path("parameters/sandbox/site.yaml")

app = typer.Typer(
    help="Connect PortSIP PBX tenants to Twilio Elastic SIP Trunking, and keep a record of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(records_cli.app, name="records")
screen = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

SiteFile = Annotated[Path, typer.Option("--site", "-s", help="Site file.")]
TenantFiles = Annotated[list[Path] | None, typer.Argument(help="Tenant files.")]
PlanFolder = Annotated[Path | None, typer.Option(help="Folder for the plan files (TENANT.plan.json).")]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="Apply exactly this plan (one tenant).")]
ApprovedPlan = Annotated[str | None, typer.Option(help="The digest that was approved.")]
ApprovedBy = Annotated[str | None, typer.Option(help="Who approved the plan.")]


def _for_the_record(name: str) -> Callable[[str | None], str | None]:
    """Hand an option to the processes of a run as the environment variable that the record is made from."""

    def keep(value: str | None) -> str | None:
        if value:
            os.environ[name] = value
        return value

    return keep


Ticket = Annotated[
    str | None,
    typer.Option(envvar=TICKET, callback=_for_the_record(TICKET), help="Ticket that the record names."),
]
Reason = Annotated[
    str | None,
    typer.Option(envvar=REASON, callback=_for_the_record(REASON), help="Why, in words, for the record."),
]
CarryOut = Annotated[bool, typer.Option("--apply", help="Carry the plan out, and keep the record of it.")]
AcceptInterruption = Annotated[
    bool, typer.Option("--accept-interruption", help="Allow rows that interrupt calls.")
]
TrunkName = Annotated[str | None, typer.Option(help="Instead of tenants: a shared trunk of the site.")]
AtOnce = Annotated[int, typer.Option(min=1, help="How many tenants at the same time.")]
SectionNumber = Annotated[str | None, typer.Option(help="Only this section of the guide, such as 03.")]


@app.command()
def demo() -> None:
    """Run the whole guide for the demo tenants on the sandbox."""
    root = project_root()
    tenants = sorted(
        path for path in (root / SANDBOX_SITE).parent.glob("*.yaml") if path.name != SANDBOX_SITE.name
    )
    screen.print("[bold]Sandbox[/]: both vendors are simulated on this machine; nothing real is touched.\n")
    raise typer.Exit(_run(SANDBOX_SITE, tenants, "apply"))


@app.command()
def lab(port: Annotated[int, typer.Option(help="Port of JupyterLab; 0 for a free one.")] = 8888) -> None:
    """Open JupyterLab on the notebooks, with the sandbox running."""
    from .sandbox import process

    root = project_root()
    running = process.ensure_running(root)
    screen.print(f"Sandbox: Twilio at {running.twilio_url}, PBX at {running.portsip_url}")
    command = [sys.executable, "-m", "jupyterlab", f"--port={port}", "--ServerApp.root_dir", str(root)]
    os.execv(sys.executable, [*command, "--LabApp.default_url=/lab/tree/notebooks/00_before_you_begin.ipynb"])  # noqa: S606


@app.command()
def sandbox(
    twilio_port: Annotated[int, typer.Option(help="Port of Twilio's APIs; 0 for a free one.")] = 0,
    portsip_port: Annotated[int, typer.Option(help="Port of PortSIP's API; 0 for a free one.")] = 0,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Serve here; print the URLs as one JSON line.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the running sandbox.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Put the demo data back.")] = False,
) -> None:
    """Start, show, reset or end the sandbox of this project."""
    import httpx

    from .sandbox import process, server

    root = project_root()
    if foreground:
        raise typer.Exit(server.serve(root, twilio_port, portsip_port))
    if stop:
        screen.print("Sandbox ended." if process.stop(root) else "No sandbox was running.")
        return
    running = process.ensure_running(root)
    if reset:
        httpx.post(f"{running.control_url}/reset", timeout=30).raise_for_status()
        screen.print("The demo data is back.")
    screen.print(
        f"Twilio's APIs: {running.twilio_url}\nPortSIP's API: {running.portsip_url}\nCA: {running.ca_file}"
    )


@app.command()
def validate(
    tenants: Annotated[list[Path], typer.Argument(help="Tenant files.")], site: SiteFile = SANDBOX_SITE
) -> None:
    """Check parameter files; sends nothing."""

    def check() -> int:
        load_all(_given(site), [_given(one) for one in tenants], project_root())
        screen.print(f"{len(tenants)} tenant file(s) and the site: fine")
        return FINE

    raise typer.Exit(_guarded(check))


@app.command()
def plan(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    out: PlanFolder = None,
    at_once: AtOnce = 1,
) -> None:
    """Plan tenants; changes nothing. Exit status 2 when there are changes."""
    from .batch.plans import plan_at_once, plan_tenant

    sections = _sections(section, trunk)
    owners = _owners(tenants, trunk)
    if min(at_once, len(owners)) > 1:
        raise typer.Exit(_worst(plan_at_once(_given(site), owners, out, screen, sections, at_once)))
    statuses = [
        _guarded(lambda one=one: plan_tenant(_given(site), one, out, screen, sections)) for one in owners
    ]
    raise typer.Exit(_worst(statuses))


@app.command()
def approve(
    plan_file: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file (runbook plan --out).")],
    key: Annotated[
        Path | None,
        typer.Option(help="SSH key, or the public half of one in the agent [default: ~/.ssh/id_ed25519]"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
) -> None:
    """Show what a plan changes and sign its digest, as the second person; writes PLAN.sig."""
    from .approval import read_plan, sign_plan
    from .batch.plans import show_changes

    def run() -> int:
        approved = read_plan(plan_file)
        show_changes(approved, screen)
        if not yes and typer.prompt("To approve it, type the tenant's name") != approved.tenant:
            raise InputError(["that is not the tenant's name: nothing was signed"])
        signature = sign_plan(plan_file, approved, key or Path.home() / ".ssh" / "id_ed25519")
        screen.print(f"Signed: {escape(str(signature))}", soft_wrap=True)
        return FINE

    raise typer.Exit(_guarded(run))


@app.command()
def apply(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    plan_file: PlanFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    at_once: AtOnce = 1,
) -> None:
    """Carry out the guide for tenants, section by section, and keep the executed notebooks."""
    owners = _owners(tenants, trunk)
    sections = _sections(section, trunk)
    approval = _approval(plan_file, approved_plan, approved_by, owners)
    if trunk is not None and (status := _guarded(lambda: _name_affected(site, owners[0]))):
        raise typer.Exit(status)
    raise typer.Exit(_run(site, owners, "apply", approval, sections, at_once=at_once))


@app.command()
def verify(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    at_once: AtOnce = 1,
) -> None:
    """Compare tenants with the guide's expected results; changes nothing."""
    sections = _sections(section, trunk)
    raise typer.Exit(_run(site, _owners(tenants, trunk), "verify", sections=sections, at_once=at_once))


@app.command()
def rollback(
    record: Annotated[str, typer.Argument(help="Run id of the record, as runbook records list shows it.")],
    tenant: Annotated[Path | None, typer.Option("--tenant", "-t", help="Tenant file, if moved.")] = None,
    site: Annotated[Path | None, typer.Option("--site", "-s", help="Site file, if moved.")] = None,
    section: Annotated[list[str] | None, typer.Option(help="Only what this section did; repeatable.")] = None,
    carry_out: CarryOut = False,
    accept_interruption: AcceptInterruption = False,
    out: PlanFolder = None,
    plan_file: PlanFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
) -> None:
    """Plan (with --apply: carry out) the way back from what a record did. A plan with changes ends with 2."""
    from .records.to_undo import files_of

    def run() -> int:
        if site and tenant:  # also what plain papermill left, which names no files
            run_id, files = record.rstrip("/").rpartition("/")[2], {}
        else:
            run_id, files = files_of(project_root() / "records", record)
        owner = _given(tenant) if tenant else files["tenant"]
        options = {
            "record": run_id,
            "only": list(section or []),
            "accept_interruption": accept_interruption,
        }
        approval = _approval(plan_file, approved_plan, approved_by)
        where = _given(site) if site else Path(files["site"])
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
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
) -> None:
    """Plan (with --apply: carry out) the retirement of tenants. A plan with changes ends with 2."""
    owners = _owners(tenants, trunk)
    approval = _approval(plan_file, approved_plan, approved_by, owners)
    options = {"accept_interruption": accept_interruption}
    raise typer.Exit(
        _guarded(lambda: _way_back(_given(site), owners, RETIRE, options, carry_out, approval, out))
    )


@app.command("sign-in")
def sign_in(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    clear: Annotated[
        bool,
        typer.Option(
            "--clear",
            help="Forget a refused sign-in (after correcting the password) and sign out what is kept.",
        ),
    ] = False,
) -> None:
    """Try the sign-in at the PBX; where it asks for one-time codes, keep the sessions for the next runs."""
    from . import sign_in as signing_in

    root = project_root()
    given = _given(site)

    def run() -> int:
        if clear:
            for line in signing_in.clear(load_site(given, root), root):
                screen.print(line)
            return FINE
        owners = [_given(one) for one in tenants or []]
        domains = [tenant.pbx_domain for _, tenant in load_all(given, owners, root)]
        ask = partial(typer.prompt, "One-time code that the PBX sent", hide_input=sys.stdin.isatty())
        for line in signing_in.sign_in(load_site(given, root), root, domains, ask):
            screen.print(line)
        return FINE

    raise typer.Exit(_guarded(run))


def _owners(tenants: list[Path] | None, trunk: str | None) -> list[Path | str]:
    """Tenant files, or the shared trunk in a tenant's place."""
    if bool(tenants) == (trunk is not None):
        raise typer.BadParameter("give tenant files, or --trunk NAME")
    return [_given(one) for one in tenants] if tenants else [f"trunk:{trunk}"]


def _approval(
    plan_file: Path | None,
    approved_plan: str | None,
    approved_by: str | None,
    owners: Sequence[Path | str] = ("",),
) -> dict[str, str | None]:
    if plan_file is not None and len(owners) != 1:
        raise typer.BadParameter("a plan is for one tenant: give exactly one tenant file with --plan")
    return {
        "plan_file": str(_given(plan_file)) if plan_file else None,
        "approved_plan": approved_plan,
        "approved_by": approved_by,
    }


def _way_back(
    site: Path,
    owners: Sequence[Path | str],
    section: str,
    options: dict[str, object],
    carry_out: bool,
    approval: dict[str, str | None],
    out: Path | None,
) -> int:
    """Show the plan of a section of the way back for each tenant, or carry it out."""
    from .batch.plans import plan_tenant

    if carry_out:
        return _run(site, list(owners), "apply", approval, (section,), options)
    statuses = [
        _guarded(lambda one=one: plan_tenant(site, one, out, screen, (section,), options)) for one in owners
    ]
    return _worst(statuses)


def _sections(section: str | None, trunk: str | None) -> tuple[str, ...]:
    """The sections to run: the one that is asked for, or none for all of them."""
    order = TRUNK_ORDER if trunk else RUN_ORDER
    if section is None:
        return ()
    section = section.zfill(2)  # the guide says section 3
    if section not in order:
        raise typer.BadParameter(f"--section: {section!r} is not one of {', '.join(sorted(order))}")
    return (section,)


def _name_affected(site: Path, trunk: str) -> int:
    """Say whose calls run through a shared trunk, before anything of it is changed."""
    from .runbook import Runbook

    with Runbook.open(_given(site), trunk) as runbook:
        names = runbook.tenants_affected()
    screen.print(Text(f"Tenants affected: {visible(', '.join(names)) or 'none'}"))
    return FINE


def _run(
    site: Path,
    tenants: list[Path | str],
    mode: str,
    approval: dict[str, str | None] | None = None,
    sections: tuple[str, ...] = (),
    options: dict[str, object] | None = None,
    at_once: int = 1,
) -> int:
    """Run the notebooks of tenants, one after the other or some at once, and show what happened."""
    from .batch import run_tenants
    from .batch.at_once import run_at_once
    from .batch.progress import Progress, summary

    def run() -> int:
        given = (_given(site), tenants, mode, approval or {}, Progress(screen), sections)
        several = min(at_once, len(tenants)) > 1
        result = run_at_once(*given, at_once) if several else run_tenants(*given, options)
        screen.print(summary(result))
        return result.exit_status

    return _guarded(run)


def _guarded(call) -> int:
    try:
        return call()
    except InputError as error:
        _complain(error)
        return WRONG_INPUT
    except RunbookError as error:
        _complain(error)
        return FAILED
    except OSError as error:  # named by nobody else: a folder that may not be written, a disk that fails
        _tell(describe(error))
        return FAILED


def _worst(statuses: list[int]) -> int:
    return max(statuses, key=[FINE, CHANGES, FAILED, WRONG_INPUT].index, default=FINE)


def _given(path: Path) -> Path:
    """A path on the command line is relative to the current folder, if it exists there."""
    return path.resolve() if os.path.exists(path) else path  # also of a text that is no path at all


def _complain(error: Exception) -> None:
    _tell(str(error))


def _tell(text: str) -> None:
    """Print lines of which vendors may have written a part: nothing of them acts on the terminal."""
    lines = scrub(text).splitlines()
    errors.print(Text("\n".join(map(visible, lines))), soft_wrap=True)


def main() -> None:
    """Run the command; usage errors end with the status of wrong input, Ctrl-C with that of a failure."""
    try:
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        errors.print("Ended before its time. Run it again: it reads first and does what is still missing.")
        status = FAILED
    except Exception as error:
        if hasattr(error, "exit_code"):
            error.show()
            status = WRONG_INPUT
        else:
            # A defect of ours; what Python would print of it could hold a secret.
            _tell(traceback.format_exc())
            status = FAILED
    raise SystemExit(status or FINE)
