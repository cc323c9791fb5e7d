"""Clocks that are wrong: the order of records is the chain's, and where its times go backwards is named."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from runbook_lib.batch.pages import write_index
from runbook_lib.cli.records import app
from runbook_lib.records import chain, clocks
from runbook_lib.records.chain import Chain
from runbook_lib.records.clocks import VendorClocks, runs_in_order
from runbook_lib.records.to_undo import record_to_undo
from tests.records.conftest import make

AHEAD = "demo/acme/20291231T000000Z-aaaaaa"
LATER, LAST = "demo/acme/20261123T000001Z-bbbbbb", "demo/acme/20261123T000002Z-cccccc"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def run(records: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "160"})


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Three runs of a tenant, the first under a clock that was years ahead."""
    for name in (AHEAD, LATER, LAST):
        make(tmp_path / "records", name)
    return tmp_path / "records"


def test_the_newest_record_is_the_one_that_the_chain_has_last(records: Path) -> None:
    parameters = {"site": {"auth_token": "env:TOKEN"}, "tenant": {"name": "acme"}}
    assert record_to_undo(records, records / "demo/acme", None, (), {}, parameters).folder == records / LAST


def test_the_index_is_in_the_order_of_the_chain(records: Path) -> None:
    page = write_index(records).read_text()
    assert re.findall(r">(\d{8}T\d{6}Z-[a-z]{6})<", page) == [one[10:] for one in (LAST, LATER, AHEAD)]


def test_a_run_outside_of_the_chain_lies_by_its_time_between_those_that_are_in_it(records: Path) -> None:
    early, between, late = (
        f"demo/acme/{name}" for name in ("2025Z-dddddd", "20261123T000001Z-dddddd", "20261124Z-dddddd")
    )
    runs = [late, LAST, early, AHEAD, between, LATER]
    wanted = [early, AHEAD, LATER, between, LAST, late]
    assert runs_in_order(Chain(records).entries(), runs) == wanted
    assert runs_in_order([], [late, early]) == [early, late]


@pytest.mark.parametrize(
    ("back", "mark"), [(-1, None), (0, None), (60, "·"), (119, "·"), (900, "!"), (63_072_000, "!")]
)
def test_times_that_go_backwards_are_named(
    tmp_path: Path, back: int, mark: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0, 0, -back, -back])
    monkeypatch.setattr(chain, "now", lambda: (NOON + timedelta(seconds=next(times))).isoformat())
    make(tmp_path, "demo/acme/20261123T120000Z-aaaaaa")
    make(tmp_path, "demo/acme/20261123T120001Z-bbbbbb")
    for command in ("list", "verify"):
        output = run(tmp_path, command)
        assert output.exit_code == 0, command
        lines = [line for line in output.stdout.splitlines() if "entry 2" in line and "entry 1" in line]
        assert [line[0] for line in lines] == ([mark] if mark else []), command
    assert "consistent, not anchored" in run(tmp_path, "verify").stdout


def test_a_chain_of_two_clocks_does_not_fill_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0, 1000] * 10)
    monkeypatch.setattr(chain, "now", lambda: (NOON + timedelta(seconds=next(times))).isoformat())
    for number in range(10):
        make(tmp_path, f"demo/acme/20261123T12000{number}Z-aaaaaa")
    shown = [line for line in run(tmp_path, "verify").stdout.splitlines() if line.startswith("!")]
    assert len(shown) == 6 and "4 more" in shown[-1]


def test_a_time_that_the_runbook_does_not_write_is_damage_and_hides_nothing_else(tmp_path: Path) -> None:
    for number in range(2):
        make(tmp_path, f"demo/acme/20261123T12000{number}Z-aaaaaa")
    path = tmp_path / chain.FILE_NAME
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(re.sub('"at": "[^"]*"', '"at": "yesterday"', first) + "".join(others))
    verified, listed = run(tmp_path, "verify"), run(tmp_path, "list")
    assert verified.exit_code == 1 and "chain.jsonl" in verified.stdout
    assert listed.exit_code == 1 and "20261123T120001Z-aaaaaa" in listed.stdout


class Steady:
    """Seconds that a test moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(clocks, "steady", lambda: self.seconds)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Nov 2026 12:00:00 GMT", "0"])
def test_an_answer_without_a_time_says_nothing(date: str | None) -> None:
    found = VendorClocks()
    found.saw("Twilio", date, clocks.steady())
    assert found.known("Twilio") is None and found.differences() == {}


def test_a_vendors_time_goes_on_whatever_happens_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    steady, found = Steady(monkeypatch), VendorClocks()
    found.saw("Twilio", "Mon, 23 Nov 2026 12:00:00 GMT", steady.seconds - 1)
    steady.seconds += 3600
    assert abs(found.now("Twilio") - NOON - timedelta(hours=1)) < timedelta(seconds=2)
    assert abs(found.differences()["Twilio"]) > 60  # today is another day


def test_an_answer_that_took_long_is_no_clock_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    steady, found = Steady(monkeypatch), VendorClocks()
    left = datetime.now(UTC) - timedelta(seconds=100)
    found.saw("Twilio", f"{left:%a, %d %b %Y %H:%M:%S} GMT", steady.seconds - 100)
    assert clocks.clock_cautions(found.differences()) == []
