"""``runbook approve`` and ``runbook revoke``: one signed statement over plans, and taking it back."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .. import ssh
from ..errors import InputError
from ..notebook.display import visible
from ..outcomes import ExitStatus
from ..screen import complain, screen
from ..statement import VALID_DAYS, Statement
from ..workspace import find_workspace
from .ending import guarded
from .options import given_file


def approve(
    plan_files: Annotated[
        list[Path], typer.Argument(metavar="PLAN...", help="Plan files (runbook plan --out).")
    ],
    ticket: Annotated[str | None, typer.Option(help="The ticket that the approval is for.")] = None,
    days: Annotated[
        int, typer.Option(min=1, max=366, help="For how many days the approval is valid.")
    ] = VALID_DAYS,
    key: Annotated[
        Path | None,
        typer.Option(
            help=f"SSH private key, or the public half of a key in the agent [default: {ssh.DEFAULT_KEY}]"
        ),
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
    """Show what plans change and sign one approval for them as a second person; writes FILE.approval.json."""
    from ..approval import SEVERAL, approval_beside, read_plan, read_statement, sign_statement
    from ..batch.plans import show_changes, show_statement

    def run() -> int:
        paths = [given_file(path) for path in plan_files]
        plans = [read_plan(path) for path in paths]
        if approval_file is not None:
            where = given_file(approval_file)
            statement, _ = read_statement(where)
            approved = [statement.line(one) for one in plans]
            if None in approved or {*approved} != {*statement.lines}:
                raise InputError(["--approval: give exactly the plans that it approves"])
        else:
            if not (ticket or "").strip():
                raise InputError(["--ticket: is missing: every approval needs a ticket"])
            try:
                statement = Statement.over(plans, str(ticket).strip(), days)
            except ValueError as error:
                raise InputError([str(error)]) from None
            several = paths[0].with_name(SEVERAL)
            where = out or (approval_beside(paths[0]) if len(paths) == 1 else several)
            if where.exists():
                raise InputError(
                    [
                        f"{where} already exists, and approvals are never overwritten: give another file "
                        "with --out"
                    ]
                )
        for one in plans:
            show_changes(one, screen)
        show_statement(statement, screen)
        # As in the Apply form: another site can have a tenant with the same name.
        for name in dict.fromkeys(f"{statement.site}/{one.tenant}" for one in plans):
            if not yes and typer.prompt(f"To approve it, type {visible(name)}").strip() != name:
                raise InputError([f"the answer is not {name}: nothing was signed"])
        default = Path(os.path.expanduser(ssh.DEFAULT_KEY))
        signature = sign_statement(where, statement, given_file(key) if key else default)
        screen.print(f"Signed: {escape(str(signature))}", soft_wrap=True)
        return ExitStatus.FINE

    raise typer.Exit(guarded(run))


def revoke(
    approval: Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's file, or its id.")],
    reason: Annotated[str, typer.Option(help="The reason, which is recorded.")],
) -> None:
    """Withdraw an approval by an entry in the records; a run in progress writes no more sections."""
    from ..approval import read_statement
    from ..batch.pages import renew_index
    from ..records.uses import enter_revocation

    def run() -> int:
        path = given_file(Path(approval))
        known = re.fullmatch(r"[0-9a-f]{32}", approval)
        found = approval if known and not path.is_file() else read_statement(path)[0].id
        records = find_workspace().records
        entry = enter_revocation(records, found, reason)
        screen.print(f"Revoked: {found}, {entry.digest}", soft_wrap=True)
        for caution in renew_index(records):
            complain(f"Caution: {caution}")
        return ExitStatus.FINE

    raise typer.Exit(guarded(run))
