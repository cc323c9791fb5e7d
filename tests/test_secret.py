"""Secrets: a type that shows nothing, references, and the filter that knows every form."""

from __future__ import annotations

import base64
import copy
import html
import json
import pickle
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.errors import SecretError
from runbook_lib.secret import Secret, SecretRef, find, resolve, scrub, sip_password_problem

VALUE = 'Canary-"7&<é>/+ =pass'
KNOWN = {VALUE: "env:CANARY"}


@pytest.mark.parametrize(
    "shown",
    [repr, str, lambda s: f"{s}", lambda s: f"{s:>40}", lambda s: "%s" % s, lambda s: s._repr_html_()],
)
def test_a_secret_shows_nothing(shown) -> None:
    assert "anary" not in shown(Secret(VALUE))


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_a_secret_does_not_leave_the_process(leave) -> None:
    with pytest.raises(TypeError) as caught:
        leave(Secret(VALUE))
    assert "anary" not in str(caught.value)


def test_a_traceback_shows_nothing() -> None:
    try:
        raise ValueError(Secret(VALUE))
    except ValueError:
        assert "anary" not in traceback.format_exc()


FORMS = [
    VALUE,
    quote(VALUE),
    quote(VALUE, safe=""),
    quote_plus(VALUE),
    json.dumps({"password": VALUE}),
    json.dumps({"password": VALUE}, ensure_ascii=False),
    html.escape(VALUE),
    base64.b64encode(VALUE.encode()).decode(),
    *(base64.b64encode(f"{user}:{VALUE}".encode()).decode() for user in ("AC1", "AC12", "AC123")),
    *(base64.urlsafe_b64encode(f"{user}:{VALUE}:x".encode()).decode() for user in ("AC1", "AC12", "AC123")),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_and_taken_out(form: str) -> None:
    text = f"before {form} after"
    assert find(text.encode(), KNOWN) == ["env:CANARY"]
    clean = scrub(text, KNOWN)
    assert find(clean.encode(), KNOWN) == []
    assert "[env:CANARY]" in clean
    assert clean.startswith("before ") and clean.endswith(" after")


@given(st.text(min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_nothing_is_left_of_any_value(value: str, before: str, after: str) -> None:
    known = {value: "env:X"}
    for form in (
        value,
        quote(value),
        json.dumps(value),
        base64.b64encode((before + value + after).encode()).decode(),
    ):
        assert find(scrub(f"<{form}>", known).encode(), known) == []


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "from-the-environment")
    (tmp_path / "secret").write_text("from-a-file\n")
    assert resolve(SecretRef.parse("env:A_SECRET"), tmp_path).reveal() == "from-the-environment"
    assert resolve(SecretRef.parse("file:secret"), tmp_path).reveal() == "from-a-file"


def test_keyring_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class InMemory(KeyringBackend):
        priority = 1

        def get_password(self, service: str, username: str) -> str:
            return f"{service} of {username}"

        def set_password(self, service: str, username: str, password: str) -> None:
            raise PermissionError

    before = keyring.get_keyring()
    keyring.set_keyring(InMemory())
    try:
        assert resolve(SecretRef.parse("keyring:twilio/main"), tmp_path).reveal() == "twilio of main"
    finally:
        keyring.set_keyring(before)


@pytest.mark.parametrize("text", ["env:NOT_THERE_AT_ALL", "file:not-there", "file:.", "file:empty"])
def test_what_does_not_resolve_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with pytest.raises(SecretError, match=text):
        resolve(SecretRef.parse(text), tmp_path)


@pytest.mark.parametrize(
    "text", [VALUE, "", "env:", "env:a b", "file:", "keyring:x", "vault:x", "ENV:X", "env"]
)
def test_a_value_instead_of_a_reference_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="give a reference") as caught:
        SecretRef.parse(text)
    assert "anary" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("Abcdefghij12", None),
        ("Abcdefghi12", "12 characters"),
        ("abcdefghij12", "upper"),
        ("ABCDEFGHIJ12", "lower"),
        ("Abcdefghijkl", "digit"),
    ],
)
def test_sip_password_rules(value: str, problem: str | None) -> None:
    found = sip_password_problem(value)
    assert (found is None) == (problem is None)
    assert problem is None or problem in found
