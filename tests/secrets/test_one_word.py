"""A secret that is one short word or number is refused before anything is sent; keys always stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.secret import is_one_word, remember, scrub_data
from runbook_sandbox import secrets
from tests.conftest import TestSandbox
from tests.test_cli import ACME, SITE, runbook

PBX = "file:.sandbox/secrets/portsip_admin_password"


@pytest.mark.parametrize(
    "value",
    ["password", "execution_state", "Größe-Straße", "100000", "a.b.c.d", "line1234\nresource", "x" * 15],
)
def test_one_word_or_number_is_no_secret(value: str) -> None:
    assert is_one_word(value)


@pytest.mark.parametrize(
    "value", ["passw0rd", "password!", "correct horse", "1000-2000", "x" * 16, "1" * 16, "word"]
)
def test_what_a_record_has_for_no_other_reason(value: str) -> None:
    assert not is_one_word(value)


def test_the_secrets_of_the_sandbox_are_none(sandbox: TestSandbox) -> None:
    assert not any(map(is_one_word, secrets.read_secrets(sandbox.root).values()))


def test_a_key_stays_also_where_a_secret_is_in_it() -> None:
    remember("Key-of-12345", "env:KEY")
    content = {"Key-of-12345": ["Key-of-12345", {"x Key-of-12345": 1}]}
    assert scrub_data(content) == {"Key-of-12345": ["[env:KEY]", {"x Key-of-12345": 1}]}


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
def test_it_is_refused_before_anything_is_sent(
    sandbox: TestSandbox, site: Path, tmp_path: Path, word: str, command: str
) -> None:
    (tmp_path / "pbx").write_text(word)
    sandbox.clear_log()
    ended = runbook(sandbox, command, "-s", str(site), ACME)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "site.pbx.password: the secret at file:" in " ".join(ended.stderr.split())
    assert sandbox.control("GET", "requests").json()["requests"] == []
    assert not list(sandbox.root.glob("records/demo/acme/2*"))


def test_a_live_site_is_told_the_same(sandbox: TestSandbox, site: Path, tmp_path: Path) -> None:
    (tmp_path / "pbx").write_text("password")
    live = site.read_text().replace("target: sandbox", "target: live")
    site.write_text(live.replace("address: 203", "url: https://pbx.example.com:8887/api\n    address: 203"))
    ended = runbook(sandbox, "validate", "-s", str(site), ACME)
    assert ended.returncode == 3
    assert "site.pbx.password: the secret at file:" in ended.stderr
