"""The machine around a run: other kernels, long paths, accounts without a name or a home, killed runs."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import nbformat
import psutil
import pytest
import stamina
from playwright.sync_api import Page

from runbook_lib.batch.scratch import LOCK, PREFIX, Scratch
from tests.conftest import CHECKOUT, TestSandbox
from tests.notebooks.lab import PATIENCE_MS, patience
from tests.notebooks.test_endings import until
from tests.processes import kernels_of

ACME = "parameters/sandbox/acme.yaml"
DOMAIN = "acme-pbx.pstn.twilio.com"
UID = 1000620000
AS_UID = ("unshare", "--user", f"--map-user={UID}")


def has_user_namespaces() -> bool:
    return (
        bool(shutil.which(AS_UID[0]))
        and not subprocess.run([*AS_UID, "true"], capture_output=True).returncode
    )


def environment(sandbox: TestSandbox, **more: str) -> dict[str, str]:
    """A bare environment, as cron and containers have it: no HOME, no USER."""
    given = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), **sandbox.environment, **more}
    return {name: value for name, value in given.items() if name != "XDG_STATE_HOME"}


def run(
    sandbox: TestSandbox, *arguments: str, prefix: tuple[str, ...] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "runbook_lib", *arguments],
        cwd=sandbox.root,
        env=environment(sandbox, **more),
        capture_output=True,
        text=True,
    )


def applied(sandbox: TestSandbox, done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """The record of a run that made the trunk of section 1."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert DOMAIN in sandbox.vendors.trunk_sids()
    (path,) = sandbox.root.glob("records/demo/acme/*/record.json")
    return json.loads(path.read_text())


def kernel_spec(folder: Path, name: str, language: str = "python") -> None:
    """Another environment's kernel, which cannot even start."""
    folder = folder / "kernels" / name
    folder.mkdir(parents=True)
    spec = {"argv": ["/bin/false", "{connection_file}"], "display_name": name, "language": language}
    (folder / "kernel.json").write_text(json.dumps(spec))


# --- kernels


def test_a_run_never_starts_another_environments_kernel(sandbox: TestSandbox, tmp_path: Path) -> None:
    kernel_spec(tmp_path, "python3")
    done = run(sandbox, "apply", "--section", "01", ACME, JUPYTER_PATH=str(tmp_path), HOME=str(tmp_path))
    assert applied(sandbox, done)["outcome"] == "succeeded"


def papermill(folder: Path, *options: str, language: str = "python") -> subprocess.CompletedProcess[str]:
    cell = nbformat.v4.new_code_cell("import sys; print(sys.executable)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "any", "language": language}
    nbformat.write(notebook, folder / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "--engine", "runbook", *options, "in.ipynb", "out.ipynb"]
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "JUPYTER_PATH": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "options", [(), ("-k", "python3"), ("-k", "other"), ("-k", "not-installed")], ids=str
)
def test_our_engine_runs_this_interpreter_whatever_the_kernel_is_called(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    for name in ("python3", "other"):
        kernel_spec(tmp_path, name)
    done = papermill(tmp_path, *options, "-p", "number", "1")
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert notebook.cells[-1].outputs[0].text.strip() == sys.executable


@pytest.mark.parametrize(
    ("options", "language"), [(("-k", "bash"), "python"), (("-k", "mine"), "python"), ((), "R")], ids=str
)
def test_our_engine_refuses_a_kernel_of_another_language(
    tmp_path: Path, options: tuple[str, ...], language: str
) -> None:
    kernel_spec(tmp_path, "mine", "julia")
    done = papermill(tmp_path, *options, "-p", "number", "1", language=language)
    assert done.returncode != 0 and "InputError" in done.stderr
    assert not (tmp_path / "out.ipynb").exists()


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """``runbook lab`` in a terminal, on a project of its own: its address, and its process."""
    root, home = tmp_path / "project", tmp_path / "home"
    shutil.copytree(CHECKOUT / "notebooks", root / "notebooks")
    home.mkdir()
    kernel_spec(tmp_path, "python3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"RUNBOOK_ROOT": str(root), "PYTHONPATH": str(CHECKOUT), "JUPYTER_PATH": str(tmp_path)}
    given |= {"PATH": "/usr/bin:/bin", **getattr(request, "param", {"HOME": str(home)})}
    command = [sys.executable, "-m", "runbook_lib"]
    ours, theirs = pty.openpty()
    with (tmp_path / "lab.log").open("w") as log, os.fdopen(ours), os.fdopen(theirs) as terminal:
        server = subprocess.Popen(
            [*command, "lab", f"--port={port}", "--", "--no-browser", "--IdentityProvider.token="],
            env=given,
            stdin=terminal,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            for attempt in stamina.retry_context(
                on=httpx.TransportError, attempts=None, timeout=90, wait_max=0.5
            ):
                with attempt:
                    assert server.poll() is None, (tmp_path / "lab.log").read_text()
                    httpx.get(f"{address}/api", trust_env=False)
            yield address, server
        finally:
            server.terminate()
            server.wait(30)
            subprocess.run([*command, "sandbox", "--stop"], env=given, check=True, capture_output=True)


@pytest.mark.parametrize("lab", [{"HOME": "/nonexistent"}, {}], indirect=True, ids=["no home", "no HOME"])
def test_jupyterlab_starts_as_root_without_a_home_with_our_own_kernel(
    lab: tuple[str, subprocess.Popen[bytes]],
) -> None:
    address, server = lab
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        specs = client.get("/api/kernelspecs").json()
        assert specs["kernelspecs"]["python3"]["spec"]["argv"][0] == sys.executable
        client.get("/lab").raise_for_status()
        token = {"X-XSRFToken": client.cookies["_xsrf"]}
        started = client.post("/api/kernels", json={"name": "python3"}, headers=token)
        assert started.status_code == 201, started.text
    # Forked from a process of our interpreter, whose command line it keeps.
    (kernel,) = kernels_of(server.pid)
    assert psutil.Process(kernel).cmdline()[0] == sys.executable


@pytest.mark.parametrize(
    "ending", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)], ids=["SIGTERM", "Ctrl-C"]
)
def test_a_server_that_is_ended_while_a_kernel_starts_ends_and_leaves_no_process(
    page: Page,
    lab: tuple[str, subprocess.Popen[bytes]],
    tmp_path: Path,
    ending: tuple[signal.Signals, ...],
) -> None:
    """An account that has never started Jupyter; its second Ctrl-C answers JupyterLab's question."""
    address, server = lab

    def living() -> set[str]:
        return {
            process.info["name"]
            for process in psutil.process_iter(["name", "environ"])
            if (process.info["environ"] or {}).get("HOME") == str(tmp_path / "home")
        }

    with page.expect_request(lambda sent: sent.method == "POST" and "/api/sessions" in sent.url):
        page.goto(f"{address}/lab/tree/work/index.ipynb", timeout=PATIENCE_MS)
    assert living(), "or the search finds nothing"
    for number in ending:
        os.killpg(server.pid, number)
        page.wait_for_timeout(500)
    server.wait(patience(10))
    until(lambda: not living(), patience(5))


# --- the temporary folder


def test_a_long_temporary_folder(sandbox: TestSandbox, tmp_path: Path) -> None:
    """A socket's path may have 107 bytes."""
    long = tmp_path / ("x" * 110)
    long.mkdir()
    applied(sandbox, run(sandbox, "apply", "--section", "01", ACME, TMPDIR=str(long), HOME=str(tmp_path)))


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_the_next_run_clears_what_a_killed_one_left(
    sandbox: TestSandbox, short: Path, tmp_path: Path
) -> None:
    where = {"TMPDIR": str(short), "HOME": str(tmp_path)}
    fault = {"vendor": "twilio", "method": "POST", "path": "/v1/Trunks$", "kind": "delay", "seconds": 60}
    sandbox.control("POST", "faults", fault)
    process = subprocess.Popen(
        [sys.executable, "-m", "runbook_lib", "apply", "--section", "01", ACME],
        cwd=sandbox.root,
        env=environment(sandbox, **where),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: sandbox.control("GET", "faults").json()["faults"][0]["applied"])
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(kernels, timeout=60)  # a kernel ends when its parent is gone
    (left,) = short.glob(f"{PREFIX}*")
    assert any(path.is_socket() for path in left.iterdir()) and list(left.glob("*.json"))
    sandbox.control("DELETE", "faults")

    def is_cleared() -> bool:
        return run(sandbox, "verify", "--section", "00", ACME, **where).returncode == 0 and not left.exists()

    assert is_cleared()


def test_only_what_nobody_holds_and_this_account_owns_is_cleared(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    folders = {name: short / f"{PREFIX}{name}" for name in ("dead", "empty", "unlocked", "foreign", "linked")}
    for name, folder in folders.items():
        if name != "linked":
            folder.mkdir()
        if name in ("dead", "foreign"):
            (folder / LOCK).touch()
            (folder / "1.json").touch()
    (folders["unlocked"] / "1.json").touch()  # of a version without locks: it may be running
    elsewhere = short / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    folders["linked"].symlink_to(elsewhere)
    kept = {"unlocked", "linked"}
    if os.getuid() == 0:
        os.chown(folders["foreign"], 4711, 4711)
        kept.add("foreign")
    with Scratch() as live, Scratch() as other:
        assert {name for name, folder in folders.items() if os.path.lexists(folder)} == kept
        assert (live.path / LOCK).exists() and (other.path / LOCK).exists()
        assert (live.path.stat().st_mode & 0o777) == 0o700
    assert not live.path.exists() and (elsewhere / LOCK).exists()


# --- accounts


@pytest.mark.skipif(not has_user_namespaces(), reason="needs user namespaces (unshare --user)")
@pytest.mark.parametrize("home", ["none", "not writable", "not there"])
def test_an_account_without_a_name_or_a_home(sandbox: TestSandbox, tmp_path: Path, home: str) -> None:
    read_only = tmp_path / "home"
    read_only.mkdir(mode=0o555)
    more = {"none": {}, "not writable": {"HOME": str(read_only)}, "not there": {"HOME": "/nonexistent"}}[home]
    done = run(sandbox, "apply", "--section", "01", ACME, prefix=AS_UID, USER="somebody", **more)
    record = applied(sandbox, done)
    assert record["operator"] == f"uid {UID}@{socket.gethostname()}"
    assert not list(sandbox.root.glob("~*"))
    verified = run(sandbox, "records", "verify", prefix=AS_UID, **more)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.skipif(not has_user_namespaces(), reason="needs user namespaces (unshare --user)")
@pytest.mark.parametrize("reference", ["file:~/secret", "file:~nobody-here/secret"])
def test_a_home_in_a_reference_of_an_account_without_one(
    sandbox: TestSandbox, tmp_path: Path, reference: str
) -> None:
    text = (sandbox.root / ACME).read_text()
    tenant = tmp_path / "acme.yaml"
    tenant.write_text(re.sub(r"password: .*", f"password: {reference}", text))
    done = run(sandbox, "validate", str(tenant), prefix=AS_UID)
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "termination.credentials.password" in done.stderr


@pytest.mark.skipif(not has_user_namespaces(), reason="needs user namespaces (unshare --user)")
def test_signing_as_an_account_that_openssh_does_not_serve(sandbox: TestSandbox, tmp_path: Path) -> None:
    planned = run(sandbox, "plan", ACME, "--out", str(tmp_path), HOME=str(tmp_path))
    assert planned.returncode == 2, planned.stderr
    (plan,) = tmp_path.glob("*.plan.json")
    done = run(sandbox, "approve", str(plan), "--ticket", "CHG-7", "--yes", prefix=AS_UID)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"uid {UID}" in done.stderr  # not: that a key or a signature is wrong
    assert not list(tmp_path.glob("*.sig"))
