"""A secret that is a word of every record is refused before anything is sent; our own keys stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.own_words import is_own
from runbook_lib.secret_forms import SHORTEST_FILTERED
from runbook_sandbox import secrets
from tests.conftest import TestSandbox
from tests.test_cli import ACME, SITE, runbook

PBX = "file:.sandbox/secrets/portsip_admin_password"


def keys_of(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from keys_of(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys_of(value)


def test_every_key_of_a_record_is_our_own(sandbox: TestSandbox) -> None:
    assert runbook(sandbox, "apply", "-s", SITE, ACME).returncode == 0
    (run,) = sandbox.root.glob("records/demo/acme/2*")
    texts = [path.read_text() for path in run.iterdir() if path.suffix in (".json", ".ipynb")]
    keys = {key for text in texts for key in keys_of(json.loads(text))}
    for line in (run / "journal.jsonl").read_text().splitlines():
        keys |= set(keys_of(json.loads(line)))
    assert {"resource", "guide_sections", "execution_count", "password"} <= keys
    # The files among the checksums, and the times that papermill keeps of a cell's messages.
    keys -= {path.name for path in run.iterdir()}
    ours = {one for one in keys if len(one) >= SHORTEST_FILTERED and not one.startswith(("iopub.", "shell."))}
    assert [one for one in sorted(ours) if not is_own(one)] == []
    assert not any(map(is_own, secrets.read(sandbox.root).values()))


@pytest.fixture
def site(sandbox: TestSandbox, tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text((sandbox.root / SITE).read_text().replace(PBX, f"file:{tmp_path}/pbx"))
    return path


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("resource", "apply"),
        ("password", "plan"),
        ("execution_state\n", "validate"),
        ("100000", "validate"),
    ],
)
def test_a_word_of_every_record_is_refused(
    sandbox: TestSandbox, site: Path, tmp_path: Path, word: str, command: str
) -> None:
    (tmp_path / "pbx").write_text(word)
    sandbox.clear_log()
    ended = runbook(sandbox, command, "-s", str(site), ACME)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    told = " ".join(ended.stderr.split())
    assert "site.pbx.password: the secret at file:" in told
    assert "/pbx is a word of the runbook's own" in told
    assert sandbox.control("GET", "requests").json()["requests"] == []
    assert not list(sandbox.root.glob("records/demo/acme/2*"))


def test_a_live_site_is_told_the_same(sandbox: TestSandbox, site: Path, tmp_path: Path) -> None:
    (tmp_path / "pbx").write_text("password")
    live = site.read_text().replace("target: sandbox", "target: live")
    site.write_text(live.replace("address: 203", "url: https://pbx.example.com:8887/api\n    address: 203"))
    ended = runbook(sandbox, "validate", "-s", str(site), ACME)
    assert ended.returncode == 3
    assert "site.pbx.password: the secret at file:" in ended.stderr
