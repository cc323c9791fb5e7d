"""``runbook demo`` and ``runbook sandbox``: the guide on made-up vendors, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InputError
from ..parameters import project_root
from ..parameters.tenants import tenant_files
from ..screen import screen
from .options import SANDBOX_SITE
from .running import run_notebooks


def demo() -> int:
    """Run the whole guide for the demo tenants on the sandbox."""
    root = project_root()
    site = root / SANDBOX_SITE
    try:
        tenants = tenant_files(site, root)
    except InputError as error:
        next_step = "create a workspace with the demo's site and tenants: runbook init FOLDER --sandbox"
        raise InputError(error.problems, next_step=next_step) from None
    return run_notebooks(site, tenants, "apply")


def sandbox(
    twilio_port: Annotated[int, typer.Option(help="Port for Twilio's APIs; 0 picks a free one.")] = 0,
    portsip_port: Annotated[int, typer.Option(help="Port for PortSIP's API; 0 picks a free one.")] = 0,
    foreground: Annotated[
        bool,
        typer.Option("--foreground", help="Serve in the foreground; print the URLs as one line of JSON."),
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
