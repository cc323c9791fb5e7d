"""The wheel by pip, pipx and uv: what was done with it outlives each installation, and nothing lies in it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.deployments.ground import (
    ACME,
    NAME,
    SITE,
    Failed,
    Ground,
    answers,
    evidence,
    files_below,
    kept,
    require,
    run,
)

NOTEBOOK = "01_create_sip_trunk.ipynb"


@dataclass(frozen=True)
class Installer:
    """How a tool installs the wheel: its commands, where they put it, and where its programs are then."""

    install: list[str]
    reinstall: list[str]
    uninstall: list[str]
    place: Path
    programs: Path
    environment: dict[str, str]

    def run(self, command: list[str]) -> None:
        """Run one of the commands."""
        run(command, environment=self.environment)


def by_pip(ground: Ground) -> None:
    """In a virtual environment, with the pinned versions."""
    place = ground.folder / "venv"
    run(["python3", "-m", "venv", str(place)])
    pip = [str(place / "bin/pip")]
    pinned = ["-q", "-c", str(ground.pins), str(ground.wheel)]
    _walk(
        ground,
        Installer(
            [*pip, "install", *pinned],
            [*pip, "install", "--force-reinstall", *pinned],
            [*pip, "uninstall", "-q", "-y", NAME],
            place,
            place / "bin",
            {},
        ),
    )


def by_pipx(ground: Ground) -> None:
    """As an application of its own."""
    home = ground.folder / "pipx"
    pipx = [str(ground.tools / "pipx")]
    install = [*pipx, "install", "-q", f"--pip-args=-c {ground.pins}", str(ground.wheel)]
    _walk(
        ground,
        Installer(
            install,
            [*pipx, "reinstall", NAME],
            [*pipx, "uninstall", NAME],
            home / "venvs",  # pipx's own logs lie beside them
            home / "venvs" / NAME / "bin",
            {"PIPX_HOME": str(home), "PIPX_BIN_DIR": str(home / "bin"), "PIPX_MAN_DIR": str(home / "man")},
        ),
    )


def by_uv(ground: Ground) -> None:
    """As a tool of its own."""
    home = ground.folder / "uv"
    install = [str(ground.tools / "uv"), "tool", "install", "-q", "-c", str(ground.pins), str(ground.wheel)]
    _walk(
        ground,
        Installer(
            install,
            [*install, "--force", "--reinstall"],
            [str(ground.tools / "uv"), "tool", "uninstall", "-q", NAME],
            home,
            home / NAME / "bin",
            {
                "UV_TOOL_DIR": str(home),
                "UV_TOOL_BIN_DIR": str(home / "bin"),
                "UV_CACHE_DIR": str(ground.shared / "uv-cache"),
            },
        ),
    )


def _walk(ground: Ground, installer: Installer) -> None:
    """Use it as an operator does, through a reinstallation, a removal and a second installation."""
    installer.run(installer.install)
    command = [str(installer.programs / "runbook")]
    empty = ground.folder / "empty"
    empty.mkdir()
    before = files_below(installer.place)
    run([*command, "plan", "-s", SITE, ACME], empty, status=3)
    require(not [*empty.iterdir()], "a command without a workspace left something behind")
    run([*command, "init", "ws", "--sandbox"], empty)
    ws = empty / "ws"
    try:
        run([*command, "plan", "--all", "-s", SITE], ws, status=2)
        run([*command, "apply", "-s", SITE, ACME], ws)
        run([*command, "plan", "-s", SITE, ACME], ws)
        notebooks = Path(run([*command, "notebooks"], ws).stdout.strip())
        parameters = ["-p", "site", SITE, "-p", "tenant", ACME, "-p", "mode", "verify"]
        papermill = [str(installer.programs / "papermill"), "--engine", "runbook"]
        run([*papermill, str(notebooks / NOTEBOOK), "out.ipynb", *parameters], ws)
        with _lab(command, ws) as server:
            listed = httpx.get(f"{server}/api/contents/work/demo/acme", trust_env=False).json()["content"]
            require(NOTEBOOK in {entry["name"] for entry in listed}, "JupyterLab shows no working copy")
        run([*papermill, NOTEBOOK, "out.ipynb"], ws / "work/demo/acme")
        added = files_below(installer.place) - before
        require(not added, f"written into the installation: {sorted(added)[:5]}")

        (run_id,) = (path.parent.name for path in ws.glob("records/demo/acme/*/record.json"))
        records, head = evidence(ws / "records"), run([*command, "records", "head"], ws).stdout.split()[-1]
        installer.run(installer.reinstall)
        kept(records, ws / "records")
        run([*command, "records", "verify"], ws)
        installer.run(installer.uninstall)
        require(not Path(command[0]).exists(), "the command is there after it was uninstalled")
        kept(records, ws / "records")
        installer.run(installer.install)
        kept(records, ws / "records")
        verified = run([*command, "records", "verify"], ws).stdout
        require("1 closed records" in verified, verified)
        run([*command, "records", "show", run_id], ws)
        run([*command, "rollback", run_id, "--apply", "--accept-interruption"], ws)
        del records["chain.jsonl"]  # it has grown, by what the head from before does not know
        kept(records, ws / "records")
        run([*command, "plan", "-s", SITE, ACME], ws, status=2)
        run([*command, "records", "verify", "--head", head], ws)
        added = files_below(installer.place) - before
        require(not added, f"written into the installation: {sorted(added)[:5]}")
    finally:
        subprocess.run([*command, "sandbox", "--stop"], cwd=ws, capture_output=True)


@contextmanager
def _lab(command: list[str], ws: Path) -> Iterator[str]:
    """Open JupyterLab as an operator does; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = ws.parent / "lab.log"
    options = [f"--port={port}", "--", "--no-browser", "--IdentityProvider.token="]
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "lab", "-s", SITE, ACME, *options], cwd=ws, stdout=output, stderr=output, text=True
        )
    try:
        answers(f"http://127.0.0.1:{port}/api", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            server.kill()
            raise Failed("JupyterLab did not end") from None
