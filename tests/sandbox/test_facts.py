"""The table of facts is whole: all statements, tests that exist, and a switch for all that is open."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from runbook_sandbox.switches import ALL
from tests.documents import FACTS as FOLDER
from tests.documents import require

from .conftest import REPOSITORY
from .facts import FACTS, FILES, NO_FACT, NOT_IMPLEMENTED, OPEN

#: Sections that state nothing.
NO_STATEMENTS = {"Source keys"}
#: How the files mark what nobody knows; a question mark in a URL or after a field's name is none.
UNKNOWN = re.compile(
    r"(?i)(?<![?\w}`])\? ?\||\*\*\?\*\*|\? \?|: \?|; \?|"
    r"unstated|unlisted|unspecified|undocumented|unpublished|not stated|untested|unsourced|"
    r"unknown \(|\bnot observed"
)
UNSURE = re.compile(r"\(L\)|\bL\b(?=[)|; ]|\.$)")


def statements() -> dict[str, str]:
    """Return every statement of the facts by its name."""
    found: dict[str, str] = {}
    for letter, name in FILES.items():
        section, place, rows = "", 0, 0
        for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
            if heading := re.match(r"## (?:(\d+)\.)? ?(.*)", line):
                section, place, rows = heading[1] or heading[2], 0, 0
                section = {"Simulator checklist": "S"}.get(section, section)
                continue
            rows = rows + 1 if line.startswith("|") else 0
            # a table begins with its head and a line of dashes
            if not line.strip() or not section or section in NO_STATEMENTS or 1 <= rows <= 2:
                continue
            place += 1
            found[f"{letter}{section}.{place}"] = line
    return found


def expanded(names: list[str]) -> list[str]:
    """Return names with ranges of them written out."""
    every: list[str] = []
    for name in names:
        first, _, last = name.partition("-")
        section, _, low = first.rpartition(".")
        every += [f"{section}.{n}" for n in range(int(low), int(last.rpartition(".")[2] or low) + 1)]
    return every


@pytest.fixture(scope="module")
def facts() -> dict[str, str]:
    require(FOLDER, "the facts about the vendors")
    return statements()


def test_every_statement_is_shown_or_set_aside_with_the_reason(facts):
    shown, set_aside = {fact.of for fact in FACTS}, expanded(list(NOT_IMPLEMENTED))
    assert len(set_aside) == len(set(set_aside))
    assert shown & set(set_aside) == set()
    assert shown | set(set_aside) == set(facts)
    assert all(NOT_IMPLEMENTED.values())


def test_confidence_is_the_files(facts):
    for fact in FACTS:
        if not facts[fact.of].startswith("|"):
            continue  # prose has no column of it
        given = set(re.findall(r"(?<=[|( /;])[HML?](?=[ |);.:,/]|$)", facts[fact.of]))
        assert fact.confidence in (given or {"H", "M", "L", "?"}), (fact, facts[fact.of])


def test_what_the_files_leave_open_is_a_switch_or_needs_none(facts):
    marked = {name for name, text in facts.items() if UNKNOWN.search(text) or UNSURE.search(text)}
    carried_out = marked - set(expanded([name for name in NOT_IMPLEMENTED if name not in OPEN]))
    assert carried_out <= set(OPEN), {name: facts[name] for name in carried_out - set(OPEN)}
    assert set(OPEN) <= set(facts)
    named = {switch for answer in OPEN.values() if isinstance(answer, tuple) for switch in answer}
    assert named | NO_FACT == {switch.name for switch in ALL}


def test_every_test_that_is_named_exists_and_is_collected():
    files = sorted({fact.shown_by.partition("::")[0] for fact in FACTS})
    listing = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", *files],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    collected = {line.partition("[")[0] for line in listing.splitlines() if "::" in line}
    assert {fact.shown_by for fact in FACTS} <= collected
