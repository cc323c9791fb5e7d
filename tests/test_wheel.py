"""The package as pip installs it, in an empty folder: what it makes there outlives it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import nbformat
import pytest
import stamina

from tests.conftest import CHECKOUT

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
NOTEBOOK = "01_create_sip_trunk.ipynb"
#: Where Jupyter's server looks for its extensions, and what enables ours.
ENABLED, SETTINGS = "jupyter_server_config.d", "portsip_twilio_runbook.json"


class Installed:
    """An environment of its own with the wheel, and with this environment's other packages behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        source = folder / "source"
        for name in ("runbook_lib", "runbook_sandbox", "notebooks", "parameters"):
            shutil.copytree(CHECKOUT / name, source / name, symlinks=True)
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(CHECKOUT / name, source)
        options = ["--no-deps", "--no-build-isolation", "-w", str(self.wheels)]
        subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", *options, str(source)], check=True)
        shutil.rmtree(source)
        venv.create(folder / "venv", symlinks=True)
        (self.packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        # nbconvert's templates, JupyterLab's pages, others' extensions of the server; not what we install
        for place, own in (("share/jupyter", "kernels"), (f"etc/jupyter/{ENABLED}", SETTINGS)):
            (folder / "venv" / place).mkdir(parents=True)
            for path in (Path(sys.prefix) / place).iterdir():
                if path.name != own:
                    (folder / "venv" / place / path.name).symlink_to(path)
        self.install()

    @property
    def python(self) -> Path:
        return self.folder / "venv/bin/python"

    @property
    def packages(self) -> Path:
        return next(self.folder.glob("venv/lib/python3*/site-packages"))

    def pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def install(self) -> None:
        self.pip("install", "--no-deps", "--no-index", "--force-reinstall", *map(str, self.wheels.iterdir()))

    def uninstall(self) -> None:
        self.pip("uninstall", "-y", "portsip-twilio-runbook")
        assert not (self.packages / "runbook_lib/version.py").exists()

    def files(self) -> set[Path]:
        """Whatever lies in the installation, but what Python compiles."""
        return {path for path in self.packages.rglob("*") if path.suffix != ".pyc" and path.is_file()}

    def run(
        self, folder: Path, *arguments: str, module: str = "runbook_lib"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), "-P", "-m", module, *arguments],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )


def environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("RUNBOOK_")
    } | {"COLUMNS": "200"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


@contextmanager
def workspace(installed: Installed, folder: Path) -> Iterator[Path]:
    made = installed.run(folder, "init", "ws", "--sandbox")
    assert made.returncode == 0, made.stderr
    try:
        yield folder / "ws"
    finally:
        installed.run(folder / "ws", "sandbox", "--stop")


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo",),
        ("plan", "-s", SITE, ACME),
        ("apply", "-s", SITE, ACME),
        ("lab",),
        ("sandbox",),
        ("records", "list"),
        ("rollback", "20261126T000000Z"),
        ("upgrade",),
    ],
    ids=" ".join,
)
def test_without_a_workspace_nothing_is_done(
    installed: Installed, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    before = installed.files()
    ended = installed.run(tmp_path, *arguments)
    assert ended.returncode == 3 and "runbook init" in ended.stderr, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert installed.files() == before and not [*tmp_path.iterdir()]


def test_hubs_find_the_kernel(installed: Installed) -> None:
    command = [installed.python, "-P", "-m", "jupyter_client.kernelspecapp", "list", "--json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, cwd="/").stdout)
    spec = listed["kernelspecs"]["runbook"]["spec"]
    assert spec["metadata"]["kernel_provisioner"]["provisioner_name"] == "runbook-fork"


def test_hubs_serve_records(installed: Installed) -> None:
    command = [installed.python, "-P", "-m", "jupyter_server.extension.serverextension", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, cwd="/")
    [ours] = [line for line in (listed.stdout + listed.stderr).splitlines() if "runbook_lib" in line][:1]
    assert "runbook_lib.server_extension" in ours and "enabled" in ours


def test_what_was_done_outlives_the_installation(installed: Installed, tmp_path: Path) -> None:
    before = installed.files()
    section = ("--section", "01", "-s", SITE, ACME)
    with workspace(installed, tmp_path) as folder:
        assert installed.run(folder, "plan", *section, "--out", "plans").returncode == 2
        (plan,) = (folder / "plans").iterdir()
        assert json.loads(plan.read_text())["runbook"] in installed.run(folder, "--version").stdout
        applied = installed.run(folder, "apply", *section)
        assert applied.returncode == 0, applied.stdout + applied.stderr
        assert installed.run(folder, "plan", *section).returncode == 0
        notebooks = Path(installed.run(folder, "notebooks").stdout.strip())
        given = ["-p", "site", SITE, "-p", "tenant", ACME, "-p", "mode", "verify", "--engine", "runbook"]
        done = installed.run(folder, str(notebooks / NOTEBOOK), "out.ipynb", *given, module="papermill")
        assert done.returncode == 0, done.stderr
        assert installed.files() == before
        installed.uninstall()
        assert list(folder.glob("records/demo/acme/*/journal.jsonl"))
        installed.install()
        verified = installed.run(folder, "records", "verify")
        assert verified.returncode == 0 and "1 closed records" in verified.stdout
        (record,) = folder.glob("records/demo/acme/*/record.json")
        back = installed.run(folder, "rollback", record.parent.name, "--apply", "--accept-interruption")
        assert back.returncode == 0, back.stdout + back.stderr
        assert installed.run(folder, "plan", *section).returncode == 2
        assert installed.files() == before


def test_jupyterlab_opens_working_copies_for_a_tenant(installed: Installed, tmp_path: Path) -> None:
    """Below a base URL, from another folder; a kernel in a copy's folder finds the workspace."""
    with workspace(installed, tmp_path) as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        options = ["--no-browser", "--IdentityProvider.token=", "--ServerApp.base_url=/ops/"]
        who = ["-s", SITE, "parameters/sandbox/globex.yaml"]
        command = [str(installed.python), "-P", "-m", "runbook_lib", "--workspace", "ws", "lab", *who]
        with (tmp_path / "lab.log").open("w") as log:
            server = subprocess.Popen(
                [*command, f"--port={port}", "--", *options],
                cwd=tmp_path,
                env=environment(),
                stdout=log,
                stderr=log,
            )
        try:
            address = f"http://127.0.0.1:{port}/ops"
            for attempt in stamina.retry_context(
                on=(httpx.TransportError, httpx.HTTPStatusError), attempts=None, timeout=120, wait_max=0.5
            ):
                with attempt:
                    assert server.poll() is None, (tmp_path / "lab.log").read_text()
                    httpx.get(f"{address}/api", trust_env=False).raise_for_status()
            start = httpx.get(f"{address}/", trust_env=False, follow_redirects=False).headers["location"]
            assert "/lab/tree/work/demo/globex/tenant.ipynb" in start
            listed = httpx.get(f"{address}/api/contents/work/demo/globex", trust_env=False).json()["content"]
            assert NOTEBOOK in {one["name"] for one in listed}
            (folder / "records/index.html").write_text("the list")
            assert httpx.get(f"{address}/runbook/records/", trust_env=False).text == "the list"
        finally:
            server.terminate()
            server.wait(30)
        copy = folder / "work/demo/globex" / NOTEBOOK
        assert "parameters/sandbox/globex.yaml" in copy.read_text()
        # Run where it lies, as JupyterLab does: it finds the workspace above it.
        done = installed.run(copy.parent, NOTEBOOK, "out.ipynb", "--engine", "runbook", module="papermill")
        assert done.returncode == 0, done.stderr
        outputs = json.dumps(nbformat.read(copy.parent / "out.ipynb", as_version=4).cells)
        assert "demo/globex" in outputs
        assert list(folder.glob("records/demo/globex/*/01.result.json"))


AS_UID = ("unshare", "--user", "--map-user=12345")


def has_user_namespaces() -> bool:
    return (
        bool(shutil.which(AS_UID[0]))
        and not subprocess.run([*AS_UID, "true"], capture_output=True).returncode
    )


@pytest.mark.skipif(not has_user_namespaces(), reason="needs user namespaces (unshare --user)")
def test_a_read_only_product_under_an_account_without_a_name(installed: Installed, tmp_path: Path) -> None:
    """As containers run it: nothing but the workspace can be written, and there is no home."""
    before = installed.files()
    with workspace(installed, tmp_path) as folder:
        subprocess.run(["chmod", "-R", "a-w", str(installed.packages)], check=True)
        try:
            command = [*AS_UID, str(installed.python), "-P", "-m", "runbook_lib", "--workspace", str(folder)]
            applied = subprocess.run(
                [*command, "apply", "--section", "01", "-s", SITE, ACME],
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                capture_output=True,
                text=True,
                timeout=240,
            )
        finally:
            subprocess.run(["chmod", "-R", "u+w", str(installed.packages)], check=True)
        assert applied.returncode == 0, applied.stdout + applied.stderr
        (opening,) = folder.glob("records/demo/acme/*/opening.json")
        told = json.loads(opening.read_text())
        assert told["workspace"] == str(folder) and told["operator"].startswith("uid 12345@")
        assert installed.files() == before
