"""The commands about the workspace: ``init``, ``lab``, ``notebooks``, ``upgrade`` and ``--version``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.text import Text

from .. import product, saving, working_copies
from ..errors import InputError, RunbookError
from ..notebook.display import visible
from ..parameters import Site, load, load_site
from ..paths import current_folder, locate, near
from ..plain_files import describe, write_whole
from ..records.versions import runbook_version
from ..screen import complain, screen
from ..version import VERSION
from ..workspace import (
    FILE,
    RECORDS,
    Workspace,
    find_workspace,
    full_path,
    read_workspace,
    settings_text,
    with_version,
    work_tree_of,
)

SANDBOX = Path("parameters/sandbox")
IGNORED = "/.sandbox/\n/secrets/\n/work/\n/records/\n.ipynb_checkpoints/\n"
README = """# Runbook workspace

This folder contains everything that connects our PortSIP tenants to Twilio. Keep it in version control.

- `parameters/`: one site file per PBX, one file per tenant; `parameters/example/` shows how they look.
- `runbook.toml`: where the records are. Back that folder up: it is the evidence of every change.
- `work/`: working copies of the notebooks, made by `runbook lab -s SITE TENANT`; not in version control.

`runbook --help` lists the commands. After an upgrade of the runbook, run `runbook upgrade`.
"""


def init(
    folder: Annotated[
        Path, typer.Argument(help="The workspace's folder; existing files are not overwritten.")
    ],
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="Include the demo's site and tenants, which need no account.")
    ] = False,
    records: Annotated[
        Path | None,
        typer.Option(help="Folder for the records, outside any git work tree [with --sandbox: records]."),
    ] = None,
) -> None:
    """Create a workspace: a folder for your parameters, with a place for the records of your changes."""
    folder = Path(os.path.abspath(full_path(folder, "FOLDER")))
    if product.is_installation(folder):
        raise InputError(
            [f"{folder} is where packages are installed: an upgrade deletes what is written there"]
        )
    if os.path.lexists(folder / FILE):
        raise InputError([f"{folder} is already a workspace: it has {FILE}"])
    place = _place_of_records(folder, sandbox, records)
    files = {
        FILE: settings_text(VERSION, place).encode(),
        ".gitignore": IGNORED.encode(),
        "README.md": README.encode(),
        "parameters/schema.json": (product.PARAMETERS / "schema.json").read_bytes(),
    }
    for name in ("example", *(["sandbox"] if sandbox else [])):
        for source in sorted((product.PARAMETERS / name).glob("*.yaml")):
            files[f"parameters/{name}/{source.name}"] = source.read_bytes()
    try:
        # runbook.toml comes last: a folder that has it is complete.
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name in [*(name for name in files if name != FILE), FILE]:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path):
                _say(f"Kept unchanged: {path}")
            else:
                write_whole(path, files[name])
    except OSError as error:
        raise RunbookError(
            describe(error), next_step="make it writable for this account, and run the command again"
        ) from None
    made = read_workspace(folder)
    screen.print(
        Text(f"Workspace {visible(str(folder))}, records in {visible(str(made.records))}"), soft_wrap=True
    )
    screen.print(
        "Next:\n" + "\n".join(f"  {line}" for line in _next(folder, sandbox)), soft_wrap=True, markup=False
    )


def lab(
    tenant: Annotated[
        str | None, typer.Argument(metavar="[TENANT]", help="Tenant file [default: the home page].")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- JUPYTERLAB-OPTION ...]", help="Options of JupyterLab.")
    ] = None,
    site: Annotated[Path | None, typer.Option("--site", "-s", help="Site file.")] = None,
    port: Annotated[int, typer.Option(help="Port for JupyterLab; 0 picks a free one.")] = 8888,
) -> None:
    """Open JupyterLab on the home page, or on working copies of the notebooks for a tenant."""
    from ..batch.kernels import jupyter_folders
    from ..batch.scratch import Scratch

    further = list(options or [])
    if tenant is not None and tenant.startswith("-"):  # after two dashes, without a tenant
        further = [tenant, *further]
        tenant = None
    workspace = find_workspace()
    page = _opened_page(workspace, site, tenant)
    command = [*product.PYTHON, "-m", "jupyterlab", f"--port={port}"]
    command += [
        f"--ServerApp.root_dir={workspace.folder}",
        "--ServerApp.kernel_spec_manager_class=runbook_lib.batch.kernels.OwnKernelSpecs",
        f"--ServerApp.jpserver_extensions={saving.MODULE}=True",
        "--ServerApp.jpserver_extensions=runbook_lib.server_extension=True",
        f"--LabApp.default_url={page}",
    ]
    if os.getuid() == 0:
        command.append("--allow-root")
        complain("JupyterLab runs as root: anyone who can open it can do anything on this machine.")
    scratch = Scratch()
    if folders := jupyter_folders(scratch.path):
        scratch.hand_over()
    else:
        scratch.close()
    environment = {
        **os.environ,
        **folders,
        "PYTHONPATH": product.python_path(),
        "JUPYTER_CONFIG_PATH": os.pathsep.join([str(product.JUPYTER), *_listed("JUPYTER_CONFIG_PATH")]),
    }
    os.execve(sys.executable, [*command, *further], environment)  # noqa: S606


def _listed(variable: str) -> list[str]:
    """The folders that a variable lists."""
    return [folder for folder in os.environ.get(variable, "").split(os.pathsep) if folder]


def notebooks() -> None:
    """Print the folder of the installed runbook's notebooks, for papermill."""
    _say(str(product.NOTEBOOKS))


def upgrade(
    carry_out: Annotated[
        bool, typer.Option("--apply", help="Make the changes; otherwise they are only shown.")
    ] = False,
) -> None:
    """Update a workspace to this version of the runbook: runbook.toml, working copies, the sandbox."""
    workspace = find_workspace()
    _say(f"Workspace {workspace.folder} · runbook {VERSION}")
    steps = [*_settings_step(workspace), *_copies_steps(workspace), *_sandbox_step(workspace)]
    for what, carry in steps:
        _say(f"{'Done' if carry_out else 'Would do'}: {what}")
        if carry_out:
            carry()
    for copy in working_copies.copies(workspace.folder):
        if not copy.is_unchanged and not copy.is_of_this_version:
            name = near(copy.path, workspace.folder)
            screen.print(
                Text(f"Kept, because somebody changed it: {visible(name)} (from {copy.version})"),
                soft_wrap=True,
            )
    for path, left in working_copies.left_over(workspace.folder):
        if left is None or not left.is_unchanged:
            why = "somebody changed it" if left else "the runbook did not make it"
            _say(f"Kept, because {why}, though nothing uses it: {near(path, workspace.folder)}")
    if not steps:
        _say("Nothing to do: everything is up to date.")
    elif not carry_out:
        _say("To make the changes: runbook upgrade --apply. See CHANGELOG.md for anything else to do.")


def show_version() -> None:
    """Print the version, the digest of the source, the Python, and the workspace if there is one."""
    found = runbook_version()
    try:
        where = str(find_workspace().folder)
    except InputError as error:
        where = f"none ({error.problems[0]})"
    _say(f"runbook {found['version']}")
    _say(f"source {found['source']}")
    _say(f"Python {platform.python_version()} ({sys.executable})")
    _say(f"workspace {where}")


def _place_of_records(folder: Path, sandbox: bool, given: Path | None) -> str:
    """The records folder for ``runbook.toml``; asks for it unless the workspace is for the sandbox."""
    if given is None:
        if sandbox:
            return RECORDS
        if not sys.stdin.isatty():
            raise InputError(
                ["--records: is missing: give a folder for the records outside any git work tree"],
                next_step="runbook init FOLDER --records FOLDER; to try it without an account: --sandbox",
            )
        given = Path(typer.prompt("Folder for the records of live sites, outside any git work tree"))
    records = Path(os.path.abspath(full_path(given, "--records")))
    if product.is_installation(records):
        raise InputError([f"--records: {records} is where packages are installed: an upgrade deletes them"])
    if not sandbox and (tree := work_tree_of(records)):
        raise InputError(
            [f"--records: {records} is in the git work tree {tree}, where git clean deletes it"],
            next_step="give a folder outside any git work tree",
        )
    text = near(records, folder)
    if not text.isprintable():
        raise InputError([f"--records: {records!r} cannot be written into {FILE}: choose another name"])
    return text


def _next(folder: Path, sandbox: bool) -> list[str]:
    if sandbox:
        return [f"cd {folder}", "runbook demo", "runbook lab"]
    return [
        f"cd {folder}",
        "cp -r parameters/example parameters/NAME   # then fill in the files",
        "runbook validate -s parameters/NAME/site.yaml parameters/NAME/TENANT.yaml",
    ]


def _opened_page(workspace: Workspace, site: Path | None, tenant: str | None) -> str:
    """Create the working copies to open; return the address of the first, below the server's base.

    Without a tenant it is the home page.
    """
    folder = workspace.folder
    the_site_file = _given(site, folder) if site is not None else folder / SANDBOX / "site.yaml"
    if tenant is None:
        if site is not None or the_site_file.exists():
            _start_sandbox(load_site(the_site_file, folder), folder)
        page = working_copies.make_home(folder, the_site_file if site is not None else None)
        return f"/lab/tree/{quote(near(page, folder))}"
    if site is None and not the_site_file.exists():
        raise InputError(["give both: runbook lab -s SITE TENANT"])
    owner: Path | str = tenant if tenant.startswith("trunk:") else _given(Path(tenant), folder)
    the_site, the_tenant = load(the_site_file, owner, folder, secrets=False)
    _start_sandbox(the_site, folder)
    place, changed = working_copies.make_for(folder, the_site_file, the_site.name, owner, the_tenant.name)
    first = place / f"{working_copies.FIRST}.ipynb"
    for copy in changed:
        if copy.path == first:
            raise InputError([working_copies.of_another(copy, folder)])
        complain(f"Note: {copy.path} was changed, and is for {copy.parameters}: check its parameters.")
    screen.print(Text(f"Workspace {visible(str(folder))} · working copies in {visible(near(place, folder))}"))
    return f"/lab/tree/{quote(near(first, folder))}"


def _start_sandbox(site: Site, folder: Path) -> None:
    """Start a separate sandbox for a site, and show its addresses."""
    if site.target == "sandbox":
        from runbook_sandbox import process

        running = process.ensure_running(folder)
        _say(f"Sandbox: Twilio at {running.twilio_url}, PBX at {running.portsip_url}")


def _say(text: str) -> None:
    screen.print(Text(visible(text)), soft_wrap=True)


def _given(path: Path, folder: Path) -> Path:
    return locate(path, current_folder(), folder) or path


Step = tuple[str, Callable[[], object]]


def _settings_step(workspace: Workspace) -> Iterator[Step]:
    made_with = workspace.made_with
    path = workspace.folder / FILE
    if made_with is None or made_with == VERSION:
        return
    if _ordered(made_with) > _ordered(VERSION):
        _say(f"Last upgraded by runbook {made_with}, which is newer than this one.")
        return
    if (owner := path.stat().st_uid) != os.geteuid():
        raise InputError(
            [f"{path} belongs to another account (uid {owner}), and an upgrade would make it yours"],
            next_step="have that account run: runbook upgrade --apply",
        )
    text = with_version(path.read_text(encoding="utf-8"), VERSION)
    yield f"{FILE}: made_with {made_with or '(none)'} → {VERSION}", lambda: write_whole(path, text.encode())


def _copies_steps(workspace: Workspace) -> Iterator[Step]:
    for copy in working_copies.copies(workspace.folder):
        if copy.is_unchanged and not copy.is_of_this_version:
            name = near(copy.path, workspace.folder)
            yield f"recreate {name} (unchanged, from {copy.version}); its outputs are lost", copy.renew
    for path, left in working_copies.left_over(workspace.folder):
        if left is not None and left.is_unchanged:
            yield f"remove {near(path, workspace.folder)} (unchanged, and nothing uses it)", path.unlink


def _sandbox_step(workspace: Workspace) -> Iterator[Step]:
    from runbook_sandbox import process

    if process.is_of_other_source(workspace.folder):
        yield "restart the sandbox, which runs another version", lambda: process.restart(workspace.folder)


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
