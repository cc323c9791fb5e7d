"""Two accounts of a group share one project: both apply, each reads what the other left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from runbook_lib.records.chain import Chain
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, TestSandbox

ANNA, BEN, GROUP = 54321, 54322, 54320
DIED = "demo/acme/20261123T000000Z-aaaaaa"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two accounts")


@dataclass(frozen=True)
class Shared:
    """A project's folder that a group shares, and the sandbox behind it."""

    root: Path
    environment: dict[str, str]
    python: str

    def run(
        self, account: int, *arguments: str, umask: int = 0o002, group: int = GROUP
    ) -> subprocess.CompletedProcess[str]:
        """Run Python as an account."""
        names = dict.fromkeys(("USER", "LOGNAME"), f"account-{account}")  # the machine has no such accounts
        home = self.root.parent / f"home-{account}"
        home.mkdir(exist_ok=True)
        os.chown(home, account, group)
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.root,
            env={**self.environment, **names, "HOME": str(home), "XDG_STATE_HOME": str(home / "state")},
            user=account,
            group=group,
            extra_groups=[],
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )

    def runbook(self, account: int, *arguments: str, **options: int) -> subprocess.CompletedProcess[str]:
        """Run a command of the runbook; it never ends with a traceback."""
        done = self.run(account, "-m", "runbook_lib", *arguments, **options)
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done


@pytest.fixture(scope="session")
def python() -> Iterator[str]:
    """Our Python, where any account can run it: a copy of it (of links) if it lies in root's own home."""
    ours = ["cat", str(CHECKOUT / "runbook_lib" / "cli" / "app.py")]
    if subprocess.run(ours, user=ANNA, group=GROUP, capture_output=True).returncode != 0:
        pytest.skip("this checkout lies where no other account can read it")
    if _runs(sys.executable):
        yield sys.executable
        return
    copy = Path(tempfile.mkdtemp()) / "python"
    copy.parent.chmod(0o755)
    ignored = shutil.ignore_patterns("site-packages", "test", "share", "__pycache__")
    shutil.copytree(sys.base_prefix, copy, symlinks=True, ignore=ignored, copy_function=_linked)
    executable = str(copy / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
    assert _runs(executable)
    yield executable
    shutil.rmtree(copy.parent)


def _runs(executable: str) -> bool:
    with suppress(OSError):
        command = [
            executable,
            "-c",
            f"import ssl, sys, runbook_lib.cli; assert sys.version == {sys.version!r}",
        ]
        environment = _environment(executable)
        return subprocess.run(command, user=ANNA, group=GROUP, env=environment, cwd="/").returncode == 0
    return False


def _environment(executable: str) -> dict[str, str]:
    """What makes a Python use its own library and our packages."""
    return {
        "LD_LIBRARY_PATH": str(Path(executable).parents[1] / "lib"),
        "PYTHONPATH": os.pathsep.join((str(CHECKOUT), sysconfig.get_path("purelib"))),
        "JUPYTER_PATH": os.path.join(sys.prefix, "share", "jupyter"),
    }


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target, follow_symlinks=False)


@pytest.fixture
def shared(sandbox: TestSandbox, python: str) -> Iterator[Shared]:
    outside = Path(tempfile.mkdtemp())
    outside.chmod(0o755)
    root = outside / "project"
    for name in ("parameters", "notebooks"):
        shutil.copytree(sandbox.root / name, root / name)
    # The embedded sandbox is one account's own: what the group shares of it is what a real site would have.
    shutil.copytree(sandbox.root / ".sandbox/secrets", root / "secrets")
    shutil.copyfile(sandbox.urls["ca_file"], root / "ca.pem")
    for path in (root / "parameters/sandbox").glob("*.yaml"):
        text = path.read_text().replace("file:.sandbox/secrets/", "file:secrets/")
        path.write_text(text.replace("    address: ", "    ca_file: ca.pem\n    address: "))
    for path in (root, *root.rglob("*")):
        os.chown(path, ANNA, GROUP)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    urls = {name: value for name, value in sandbox.environment.items() if name.endswith("_URL")}
    yield Shared(root, {**os.environ, **urls, **_environment(python), "RUNBOOK_ROOT": str(root)}, python)
    shutil.rmtree(outside)


def test_both_apply_and_read(shared: Shared) -> None:
    for account in (ANNA, BEN, ANNA):
        done = shared.runbook(account, "apply", "parameters/sandbox/acme.yaml", "--section", "01")
        assert done.returncode == 0, done.stdout + done.stderr
    entries = Chain(shared.root / "records").entries()
    assert [one.event for one in entries] == ["opened", "closed"] * 3
    run = entries[0].run
    for account in (ANNA, BEN):
        for command in (["list"], ["verify"], ["show", run], ["export", run, f"{account}.zip"]):
            assert shared.runbook(account, "records", *command).returncode == 0, command


def test_a_run_that_died_is_the_other_s_to_read_and_to_close(shared: Shared) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.records.conftest import start\n"
        "from runbook_lib.keys import trunk; from runbook_lib.records.journal import Journal\n"
        f"folder = start(Path('records'), {DIED!r})\n"
        "kept = Journal(folder / 'journal.jsonl', lambda event: event, {})\n"
        "with kept.writing('01', trunk('one'), ()):\n"
        "    entry = kept.sending('Twilio', 'POST', '/v1/Trunks', {})\n"
        "    kept.answered(entry, status=201, request_id=None, seconds=0, result='TK1', error=None)\n"
    )
    died = shared.run(ANNA, "-c", code)
    assert died.returncode == 0, died.stderr
    known = (
        "from pathlib import Path; from runbook_lib.keys import trunk\n"
        "from runbook_lib.records.ownership import Ownership\n"
        "raise SystemExit(not Ownership(Path('records'), {}).made(trunk('one'), 'TK1'))"
    )
    assert shared.run(BEN, "-c", known).returncode == 0
    assert shared.runbook(BEN, "records", "close", DIED).returncode == 0
    assert shared.runbook(BEN, "records", "verify").returncode == 0


def test_reading_needs_no_write_access(shared: Shared) -> None:
    """Plans and looks at records leave nothing where an account may only read."""
    assert shared.run(ANNA, "-c", _MAKE).returncode == 0
    records = shared.root / "records"
    for path in (records, *records.rglob("*"), shared.root):
        path.chmod(path.stat().st_mode & ~0o222)
    before = sorted(path for path in records.rglob("*"))
    for command in (
        ["plan", "parameters/sandbox/acme.yaml", "--section", "01"],
        ["records", "list"],
        ["records", "show", DIED],
        ["records", "verify"],
        ["records", "head"],
    ):
        done = shared.runbook(BEN, *command)
        assert done.returncode == (2 if command[0] == "plan" else 0), done.stdout + done.stderr
    assert sorted(path for path in records.rglob("*")) == before
    refused = shared.runbook(BEN, "apply", "parameters/sandbox/acme.yaml", "--section", "01")
    assert refused.returncode == 1 and str(records) in refused.stdout + refused.stderr


def test_whom_the_umask_keeps_out_is_told_so(shared: Shared) -> None:
    """With umask 022 one account may write: the other is told which file keeps it out, and whose that is."""
    assert shared.run(ANNA, "-c", _MAKE, umask=0o022).returncode == 0
    refused = shared.runbook(BEN, "apply", "parameters/sandbox/acme.yaml", "--section", "01")
    told = refused.stdout + refused.stderr
    assert refused.returncode == 1 and "records" in told and f"uid {ANNA}" in " ".join(told.split())
    assert shared.runbook(BEN, "records", "list").returncode == 0
    assert shared.runbook(BEN, "records", "verify").returncode == 0
    private = shared.run(ANNA, "-c", _MAKE.replace("aaaaaa", "bbbbbb"), umask=0o077)
    assert private.returncode == 0
    kept_out = shared.runbook(BEN, "records", "verify")
    assert kept_out.returncode == 1 and "Permission denied" in kept_out.stdout


def test_an_emergency_is_applied_by_one_and_reviewed_by_another(shared: Shared) -> None:
    site = shared.root / "parameters/sandbox/site.yaml"
    policies = "  policies:\n    approval: required\n    emergency: true\n"
    site.write_text(site.read_text().replace("  policies:\n", policies))
    apply = ["apply", "parameters/sandbox/acme.yaml", "--section", "01"]
    records = shared.root / "records"
    assert shared.runbook(ANNA, *apply).returncode == 1 and not (records / "chain.jsonl").exists()
    done = shared.runbook(ANNA, *apply, "--emergency", "no calls since 02:10")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [one.event for one in Chain(records).entries()] == ["opened", "closed"]
    run = Chain(records).entries()[0].run
    assert json.loads((records / run / "record.json").read_text())["emergency"] == "no calls since 02:10"
    assert verify_records(records).unreviewed == (run,)
    assert f">{run}</div>" in (records / "index.html").read_text().replace("<wbr>", "")
    review = ["records", "review", run, "--remark", "was right"]
    assert shared.runbook(ANNA, *review).returncode == 1
    assert verify_records(records).unreviewed == (run,)
    assert shared.runbook(BEN, *review).returncode == 0
    assert (
        verify_records(records).unreviewed == () and shared.runbook(ANNA, "records", "verify").returncode == 0
    )
    assert f">{run}</div>" not in (records / "index.html").read_text().replace("<wbr>", "")


_MAKE = f"from pathlib import Path; from tests.records.conftest import make; make(Path('records'), {DIED!r})"
