"""Old runs that only looked are removed; nothing that could be evidence is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runbook_lib.records import living
from runbook_lib.records.chain import Chain
from runbook_lib.records.plans import remove_old_plans
from tests.records.conftest import make, start, work

OLD = datetime.now(UTC) - timedelta(days=100)


def planned(owner: Path, at: datetime = OLD, mode: str = "plan", name: str = "") -> Path:
    """What a plan in a notebook leaves, of that time."""
    folder = owner / (name or f"{at:%Y%m%dT%H%M%SZ}-aaaaaa")
    folder.mkdir(parents=True)
    (folder / "01.result.json").write_text(json.dumps({"mode": mode, "writes": 0}))
    (folder / "01.plan-0123456789ab.json").write_text("{}")
    (folder / "01_create_sip_trunk.html").write_text("")
    aged(folder, at)
    return folder


def aged(folder: Path, at: datetime = OLD) -> None:
    for path in folder.iterdir():
        os.utime(path, (at.timestamp(), at.timestamp()), follow_symlinks=False)


def test_only_old_ones_are_removed(tmp_path: Path) -> None:
    owner = tmp_path / "demo" / "acme"
    old, checked = planned(owner), planned(owner, OLD - timedelta(days=1), "verify")
    young = planned(owner, datetime.now(UTC) - timedelta(days=80))
    assert sorted(remove_old_plans(owner, 90)) == sorted([old, checked])
    assert young.is_dir() and not old.exists()
    assert remove_old_plans(owner, 90) == [] and remove_old_plans(tmp_path / "none", 90) == []


KEPT: dict[str, Callable[[Path], object]] = {
    "an approval": lambda folder: (folder / "01.approval.json").write_text("{}"),
    "a signature": lambda folder: (folder / "01.approval.json.sig").write_text(""),
    "a journal": lambda folder: (folder / "journal.jsonl").write_text(""),
    "an opening": lambda folder: (folder / "opening.json").write_text("{}"),
    "a mode that changes": lambda folder: (folder / "run.json").write_text('{"mode": "apply"}'),
    "writes": lambda folder: (folder / "02.result.json").write_text('{"mode": "plan", "writes": 1}'),
    "no mode": lambda folder: (folder / "01.result.json").write_text("{}"),
    "somebody's notes": lambda folder: (folder / "notes.txt").write_text(""),
    "a folder": lambda folder: (folder / "more").mkdir(),
    "a link": lambda folder: (folder / "run.json").symlink_to(folder / "01.result.json"),
}


@pytest.mark.parametrize("what", KEPT)
def test_whatever_could_be_evidence_stays(what: str, tmp_path: Path) -> None:
    owner = tmp_path / "demo" / "acme"
    folder = planned(owner)
    KEPT[what](folder)
    aged(folder)
    assert remove_old_plans(owner, 90) == [] and folder.is_dir()


def test_a_run_that_the_chain_knows_or_that_goes_on_stays(tmp_path: Path) -> None:
    owner = tmp_path / "demo" / "acme"
    name = f"{OLD:%Y%m%dT%H%M%SZ}-bbbbbb"
    chained = make(tmp_path, f"demo/acme/{name}")
    for path in chained.iterdir():
        path.unlink()  # somebody leaves nothing of it but what looks like a plan
    (chained / "01.result.json").write_text('{"mode": "plan", "writes": 0}')
    aged(chained)
    open_one = start(tmp_path, f"demo/acme/{OLD:%Y%m%dT%H%M%SZ}-cccccc", mode="plan")
    work(open_one)
    going = planned(owner, name=f"{OLD:%Y%m%dT%H%M%SZ}-dddddd")
    living.begin(going)
    aged(going)
    assert remove_old_plans(owner, 90) == []
    living.end(going)
    assert {entry.run for entry in Chain(tmp_path).entries()} >= {f"demo/acme/{name}"}
