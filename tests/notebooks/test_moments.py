"""What a run reads: each request once, as long as nothing is written; how much the vendors are asked."""

from __future__ import annotations

import json

import pytest

from tests.conftest import TestSandbox
from tests.test_cli import ACME, SITE, runbook


def asked(sandbox: TestSandbox, command: str) -> int:
    """How many requests of all kinds a command for acme sends."""
    sandbox.clear_log()
    ended = runbook(sandbox, command, "-s", SITE, ACME)
    assert ended.returncode in (0, 2), ended.stdout + ended.stderr
    return len(sandbox.control("GET", "requests").json()["requests"])


def test_how_much_the_vendors_are_asked(sandbox: TestSandbox) -> None:
    assert asked(sandbox, "apply") <= 130
    assert len(sandbox.writes()) == 15
    for command, most in (("plan", 35), ("verify", 45), ("apply", 50)):
        assert asked(sandbox, command) <= most, command
        assert sandbox.writes() == []


@pytest.mark.parametrize("command", ["apply", "verify"])
def test_a_clock_that_is_off_is_told_by_sections_that_ask_nothing_themselves(
    sandbox: TestSandbox, command: str
) -> None:
    assert runbook(sandbox, "apply", "-s", SITE, ACME).returncode == 0
    sandbox.control("POST", "clock", {"advance": 600})
    ended = runbook(sandbox, command, "-s", SITE, ACME)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    newest = max(sandbox.root.glob("records/demo/acme/2*"))
    for result in newest.glob("*.result.json"):
        clocks = json.loads(result.read_text())["clocks"]
        assert clocks["Twilio"] == pytest.approx(-600, abs=30), result.name
