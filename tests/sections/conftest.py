from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.vendors.transport import Transport
from tests.conftest import CHECKOUT
from tests.sections.from_facts import Make, make_section


@pytest.fixture
def no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would send a request fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a request was sent")

    monkeypatch.setattr(Transport, "send", refuse)


@pytest.fixture
def section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_request: None) -> Make:
    """Makes sections from facts, in a project of their own."""
    shutil.copytree(CHECKOUT / "parameters", tmp_path / "parameters")
    monkeypatch.setenv("RUNBOOK_ROOT", str(tmp_path))
    return make_section
