"""What docs/drift.md gives for every night, taken from the page: a systemd unit, a line for cron."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, TestSandbox
from tests.test_cli import SITE

PAGE = (CHECKOUT / "docs" / "drift.md").read_text(encoding="utf-8")
RUNBOOK = "/opt/runbook/bin/runbook"


def block(language: str, having: str) -> str:
    """The page's only code block of a language that has a text in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    [found] = [one for one in blocks if having in one]
    return found


@pytest.fixture
def installed(sandbox: TestSandbox, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What stands here for each path of the page."""
    command = tmp_path / "runbook"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={CHECKOUT} exec {sys.executable} -m runbook_lib "$@"\n')
    command.chmod(0o755)
    secrets = tmp_path / "secrets"
    secrets.write_text("".join(f"{name}={value}\n" for name, value in sandbox.environment.items()))
    metrics = tmp_path / "runbook.prom"
    (sandbox.root / "runbook.toml").write_text("format = 1\n")
    yield {
        RUNBOOK: str(command),
        "/srv/runbook": str(sandbox.root),
        "/etc/runbook/secrets": str(secrets),
        "/var/lib/node_exporter/textfile/runbook.prom": str(metrics),
        "parameters/site.yaml": SITE,
        " --post env:DRIFT_URL": "",  # nobody listens here
    }
    (sandbox.root / "runbook.toml").unlink()


def here(text: str, paths: dict[str, str]) -> str:
    for theirs, ours in paths.items():
        assert theirs in PAGE
        text = text.replace(theirs, ours)
    return text


def in_a_bare_environment(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """As cron and systemd run it: from the root folder, without a terminal, with these variables alone."""
    bare = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", **variables}
    arguments = ["/bin/sh", "-c", command]
    return subprocess.run(arguments, cwd="/", env=bare, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(installed: dict[str, str], tmp_path: Path) -> None:
    service = here(block("ini", "[Service]"), installed).replace("User=runbook", "User=root")
    (tmp_path / "runbook-drift.service").write_text(service)
    (tmp_path / "runbook-drift.timer").write_text(block("ini", "[Timer]"))
    units = [str(tmp_path / f"runbook-drift.{kind}") for kind in ("service", "timer")]
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    about_ours = [line for line in verified.stderr.splitlines() if "runbook-drift" in line]
    assert (verified.returncode, about_ours) == (0, [])


def test_what_the_unit_starts_ends_with_a_status_that_the_unit_knows(
    installed: dict[str, str], tmp_path: Path
) -> None:
    service = here(block("ini", "[Service]"), installed).replace("\\\n", " ")
    settings = re.findall(r"^(\w+)=(.*)$", service, flags=re.MULTILINE)
    [command] = [value for name, value in settings if name == "ExecStart"]
    [secrets] = [value for name, value in settings if name == "EnvironmentFile"]
    variables = [value for name, value in settings if name == "Environment"]
    given = dict(line.split("=", 1) for line in [*variables, *Path(secrets).read_text().splitlines()])
    ended = in_a_bare_environment(command, **given)
    assert ended.returncode == 2, ended.stdout + ended.stderr  # nothing is set up, so all of it differs
    assert ("SuccessExitStatus", "2") in settings
    assert "runbook_drift_differing" in (tmp_path / "runbook.prom").read_text()


def test_the_line_for_cron_runs_as_cron_runs_it(sandbox: TestSandbox, installed: dict[str, str]) -> None:
    *when, user, command = here(block("", "30 2"), installed).split(maxsplit=6)
    assert (when, user) == (["30", "2", "*", "*", "*"], "runbook")
    ended = in_a_bare_environment(command, **sandbox.environment, HOME=str(sandbox.root.parent))
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "\x1b" not in ended.stdout and "differ" in ended.stdout
