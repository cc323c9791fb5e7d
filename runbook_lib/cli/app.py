"""The ``runbook`` command.

Exit status: 0 fine (``plan``: nothing to change), 1 failed, 2 there are changes (``plan`` only),
3 the input or the usage is wrong; of several, 3 beats 1 beats 2 beats 0.
"""

from __future__ import annotations

import io
import logging
import os
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ..batch.interruption import Interruption, interrupted_once
from ..outcomes import ExitStatus
from ..screen import complain, finish, guard
from ..workspace import VARIABLE, full_path
from .ending import RUN_AGAIN, guarded, with_status

#: Module and function of each command, or of a group its ``app``, in the order of ``runbook --help``.
COMMANDS = {
    "init": "workspace.init",
    "lab": "workspace.lab",
    "notebooks": "workspace.notebooks",
    "upgrade": "workspace.upgrade",
    "demo": "demo.demo",
    "sandbox": "demo.sandbox",
    "validate": "planning.validate",
    "dial": "dial.dial",
    "plan": "planning.plan",
    "approve": "approving.approve",
    "revoke": "approving.revoke",
    "apply": "applying.apply",
    "verify": "applying.verify",
    "drift": "drift.drift",
    "discover": "discover.discover",
    "rollback": "undoing.rollback",
    "retire": "undoing.retire",
    "sign-in": "signing_in.sign_in",
    "records": "records.app",
}


class OnDemand(TyperGroup):
    """Commands that are imported only when used: listing records needs no vendor's client."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, dict.fromkeys(COMMANDS))

    def get_command(self, ctx: object, cmd_name: str) -> Any:
        """Return a command by its name; ``None`` if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(".")
        found = getattr(import_module(f".{module}", __package__), name)
        if isinstance(found, typer.Typer):
            return get_command(found)
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(cmd_name)(with_status(found))
        return get_command(single)


app = typer.Typer(
    help="Connect PortSIP PBX tenants to Twilio Elastic SIP Trunking, and record every change.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    cls=OnDemand,
)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    workspace: Annotated[
        Path | None,
        typer.Option(
            envvar=VARIABLE,
            help="Folder with your parameters and records [default: the nearest folder with a "
            "runbook.toml, from the current one upward].",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show version, source, Python and workspace.")
    ] = False,
) -> None:
    if workspace is not None:
        # For this process and those that it starts, wherever they run.
        os.environ[VARIABLE] = os.path.abspath(full_path(workspace, "--workspace"))
    if version:
        from .workspace import show_version

        show_version()
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


def main() -> None:
    """Run the command; usage errors end with the status of wrong input, Ctrl-C with that of a failure."""
    if not os.path.isabs(os.path.expanduser("~")):
        # An account without a home: as container runtimes do; Jupyter's packages need one to be imported.
        os.environ["HOME"] = "/"
    interruption = interrupted_once()
    guard()
    # Libraries log warnings about an ended kernel that mean nothing here.
    logging.getLogger().addHandler(logging.NullHandler())
    status: int = ExitStatus.FAILED
    try:
        status = guarded(lambda: _command(interruption))
        finish()
    except KeyboardInterrupt:  # while the end was being reported
        pass
    interruption.ignore()
    raise SystemExit(status)


def _command(interruption: Interruption) -> int:
    try:
        with interruption.allowed():  # it may have come while the command was being loaded
            status: int = app(standalone_mode=False) or ExitStatus.FINE
    except (typer.Abort, KeyboardInterrupt):
        status = ExitStatus.INTERRUPTED
    except Exception as error:
        # A usage error, from whichever click package typer is built on.
        show = getattr(error, "show", None)
        if show is None:
            raise
        usage = io.StringIO()
        show(usage)
        complain(usage.getvalue())
        status = ExitStatus.WRONG_INPUT
    if status == ExitStatus.INTERRUPTED:
        complain(RUN_AGAIN)
        status = ExitStatus.FAILED
    return status
