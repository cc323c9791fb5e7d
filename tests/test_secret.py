"""Secrets: a type that shows nothing, references, and the filter that knows every form."""

from __future__ import annotations

import base64
import copy
import html
import json
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.errors import SecretError
from runbook_lib.secret import (
    Secret,
    SecretFilter,
    SecretRef,
    exposure,
    find_secrets,
    known,
    remember,
    resolve,
    scrub,
    sip_password_problem,
)

VALUE = 'Canary-"7&<é>/+ =pass'
KNOWN = SecretFilter({VALUE: "env:CANARY"})


@pytest.mark.parametrize(
    "shown",
    [repr, str, lambda s: f"{s}", lambda s: f"{s:>40}", "%s".__mod__, lambda s: s._repr_html_()],
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
    json.dumps(json.dumps({"password": VALUE})),  # a JSON text inside of a notebook
    json.dumps(html.escape(VALUE)),
    html.escape(json.dumps(VALUE)),
    repr(VALUE),
    quote(VALUE, safe="!$&'()*+,;=:@"),
    quote(VALUE, safe="")
    .replace("%2F", "%2f")
    .replace("%3C", "%3c")
    .replace("%3E", "%3e")
    .replace("%2B", "%2b")
    .replace("%3D", "%3d")
    .replace("%C3%A9", "%c3%a9"),
    quote(base64.b64encode(VALUE.encode()).decode(), safe=""),
    base64.b64encode(VALUE.encode("utf-16-le")).decode(),
    base64.b64encode(f"AC1:{VALUE}".encode("latin-1")).decode(),
    *(base64.urlsafe_b64encode(f"{user}:{VALUE}:x".encode()).decode() for user in ("AC1", "AC12", "AC123")),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found_and_taken_out(form: str) -> None:
    text = f"before {form} after"
    assert find_secrets(text.encode(), KNOWN) == ["env:CANARY"]
    clean = scrub(text, KNOWN)
    assert find_secrets(clean.encode(), KNOWN) == []
    assert "[env:CANARY]" in clean
    assert clean.startswith("before ") and clean.endswith(" after")


@given(st.text(min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_nothing_is_left_of_any_value(value: str, before: str, after: str) -> None:
    known = SecretFilter({value: "env:X"})
    for form in (
        value,
        quote(value),
        json.dumps(value),
        base64.b64encode((before + value + after).encode()).decode(),
    ):
        assert find_secrets(scrub(f"<{form}>", known).encode(), known) == []


def test_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "from-the-environment")
    (tmp_path / "secret").write_text("from-a-file\n")
    assert resolve(SecretRef.parse("env:A_SECRET"), tmp_path).reveal() == "from-the-environment"
    assert resolve(SecretRef.parse("file:secret"), tmp_path).reveal() == "from-a-file"


def test_keyring_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring

    # A backend class of our own would stay registered with keyring for every later test.
    monkeypatch.setattr(keyring, "get_password", lambda service, user: f"{service} of {user}")
    assert resolve(SecretRef.parse("keyring:twilio/main"), tmp_path).reveal() == "twilio of main"


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


def test_short_values_do_not_wreck_texts() -> None:
    assert (
        scrub("the administrator signs in as admin", SecretFilter({"admin": "env:PASSWORD"}))
        == "the administrator signs in as admin"
    )
    assert scrub("x hunter2 x", SecretFilter({"hunter2": "env:PASSWORD"})) == "x [env:PASSWORD] x"


def test_one_value_inside_of_another_is_taken_out_whole() -> None:
    values = SecretFilter({"correct-horse": "env:A", "correct-horse-battery": "env:B"})
    assert scrub("correct-horse-battery, correct-horse", values) == "[env:B], [env:A]"
    assert find_secrets("correct-horse-battery", values) == ["env:A", "env:B"]


def test_the_filter_knows_what_was_resolved_and_what_was_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KNOWN_SECRET", "resolved-value-1")
    secret = resolve(SecretRef.parse("env:A_KNOWN_SECRET"), tmp_path)
    remember("a-vendors-token-1", "access token")
    assert known()[secret] == "env:A_KNOWN_SECRET"
    assert scrub("resolved-value-1 a-vendors-token-1") == "[env:A_KNOWN_SECRET] [access token]"
    assert "resolved-value-1" not in repr(known())


def test_secrets_compare_by_value() -> None:
    assert Secret("a-value") == Secret("a-value") and hash(Secret("a-value")) == hash(Secret("a-value"))
    assert Secret("a-value") != Secret("another") and Secret("a-value") != "a-value"


def test_a_pydantic_error_shows_nothing() -> None:
    class Model(pydantic.BaseModel):
        secret: int

    with pytest.raises(pydantic.ValidationError) as caught:
        Model.model_validate({"secret": Secret(VALUE)})
    assert "anary" not in str(caught.value) + repr(caught.value.errors())


def test_files(tmp_path: Path) -> None:
    for end in (b"", b"\n", b"\r\n"):
        (tmp_path / "one-line").write_bytes(b"value" + end)
        assert resolve(SecretRef.parse("file:one-line"), tmp_path).reveal() == "value"
    (tmp_path / "blank").write_text(" \n")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    os.mkfifo(tmp_path / "fifo")
    for name, reason in (
        ("blank", "empty"),
        ("large", "larger"),
        ("binary", "not text"),
        ("fifo", "not a file"),
    ):
        with pytest.raises(SecretError, match=f"file:{name} .*{reason}"):
            resolve(SecretRef.parse(f"file:{name}"), tmp_path)


#: What nobody sees in a console or an editor, with its place and its name.
UNSEEN = [
    ("{}\n\n", 14, "LINE FEED"),
    ("{}\r\n\r\n", 14, "CARRIAGE RETURN"),
    ("{}\r", 14, "CARRIAGE RETURN"),
    ("{}\n\r", 14, "LINE FEED"),
    ("Two\n{}", 4, "LINE FEED"),
    ("\ufeff{}", 1, "ZERO WIDTH NO-BREAK SPACE"),
    ("{} ", 14, "SPACE"),
    (" {}\n", 1, "SPACE"),
    ("{}\t", 14, "CHARACTER TABULATION"),
    ("a\x00{}", 2, "NULL"),
    ("{}\x1b[0m", 14, "ESCAPE"),
    ("{}\x85", 14, "NEXT LINE"),
    ("a\u00a0{}", 2, "NO-BREAK SPACE"),
    ("a\u3000{}", 2, "IDEOGRAPHIC SPACE"),
    ("a\u200b{}", 2, "ZERO WIDTH SPACE"),
    ("a\u2060{}", 2, "WORD JOINER"),
    ("a\u00ad{}", 2, "SOFT HYPHEN"),
    ("a\u202e{}", 2, "RIGHT-TO-LEFT OVERRIDE"),
    ("a\u2066{}", 2, "LEFT-TO-RIGHT ISOLATE"),
    ("a\u2028{}", 2, "LINE SEPARATOR"),
    ("a\ufe0f{}", 2, "VARIATION SELECTOR-16"),
    ("a\u3164{}", 2, "HANGUL FILLER"),
    ("a\u2800{}", 2, "BRAILLE PATTERN BLANK"),
    ("a\U000e0041{}", 2, "TAG LATIN CAPITAL LETTER A"),
    ("a\ue000{}", 2, "U+E000"),
]


@pytest.mark.parametrize(("pattern", "place", "name"), UNSEEN, ids=lambda one: ascii(one))
@pytest.mark.parametrize("kind", ["file", "env", "keyring"])
def test_what_cannot_be_seen_in_a_secret_is_refused_and_named(
    pattern: str, place: int, name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be written to both vendors, and nobody would ever find it."""
    import keyring

    value = pattern.format("Abcdefgh1234X")
    if kind == "env" and "\x00" in value:
        pytest.skip("no environment holds it")
    reference = {"file": "file:X", "env": "env:X_UNSEEN", "keyring": "keyring:x/y"}[kind]
    (tmp_path / "X").write_bytes(value.encode())
    monkeypatch.setattr(keyring, "get_password", lambda service, user: value)
    if kind == "env":
        monkeypatch.setenv("X_UNSEEN", value)
    with pytest.raises(SecretError) as caught:
        resolve(SecretRef.parse(reference), tmp_path)
    [problem] = caught.value.problems
    assert reference in problem and f"character {place} " in problem and name in problem
    assert "bcdefgh" not in str(caught.value) and value not in {one.reveal() for one in known()}


def test_one_line_end_belongs_to_a_file_and_to_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring

    monkeypatch.setenv("A_LINE", "Abcdefgh1234X\n")
    monkeypatch.setattr(keyring, "get_password", lambda service, user: "Abcdefgh1234X\n")
    for reference in ("env:A_LINE", "keyring:x/y"):
        with pytest.raises(SecretError, match="LINE FEED"):
            resolve(SecretRef.parse(reference), tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from runbook_lib.secret import *; from runbook_lib.errors import *\n"
        "try: resolve(SecretRef.parse('env:X_BYTES'), Path())\nexcept SecretError as error: print(error)"
    )
    environment = {**os.environb, b"X_BYTES": b"Abcdefgh1234X\x80"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "character 14 is U+DC80" in told.stdout and "Abcdefgh" not in told.stdout, told.stderr
    (tmp_path / "utf-16").write_text("Abcdefgh1234X", encoding="utf-16-le")
    with pytest.raises(SecretError, match=r"character 2 .*NULL"):
        resolve(SecretRef.parse("file:utf-16"), tmp_path)


def test_what_can_be_seen_is_taken(tmp_path: Path) -> None:
    for value in (
        "Correct horse 9 battery",
        'Sip0"/+&<é=end',
        "pässwörd 12A",
        "密码Abcdefg123",
        "(:-) 🙂 Abc1",
    ):
        (tmp_path / "seen").write_text(value + "\n", encoding="utf-8")
        assert resolve(SecretRef.parse("file:seen"), tmp_path).reveal() == value


@pytest.mark.parametrize(
    ("mode", "folder", "exposed"),
    [
        (0o600, 0o700, False),
        (0o400, 0o755, False),
        (0o640, 0o755, False),
        (0o644, 0o700, True),
        (0o604, 0o700, True),
        (0o620, 0o700, True),
        (0o602, 0o700, True),
        (0o600, 0o777, True),
        (0o600, 0o1777, False),
    ],
)
def test_a_file_that_others_reach_is_exposed(mode: int, folder: int, exposed: bool, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/X").write_text("Abcdefgh1234X")
    (tmp_path / "in/X").chmod(mode)
    (tmp_path / "in").chmod(folder)
    (tmp_path / "link").symlink_to("in/X")
    for name in ("in/X", "link"):
        assert bool(exposure(SecretRef.parse(f"file:{name}"), tmp_path)) is exposed
    for reference in ("file:not-there", "file:in", "env:HOME", "keyring:x/y"):
        assert exposure(SecretRef.parse(reference), tmp_path) == ""


def test_thousands_of_secrets_are_looked_for_in_one_pass() -> None:
    many = SecretFilter({f"Tenant-{number}-password": f"env:TENANT_{number}" for number in range(3000)})
    assert scrub("a Tenant-7-password b Tenant-2999-password", many) == "a [env:TENANT_7] b [env:TENANT_2999]"
    many.discard("Tenant-7-password")
    assert find_secrets("Tenant-7-password", many) == []
    many.add("Tenant-7-password", "env:AGAIN")
    assert find_secrets(base64.b64encode(b"user:Tenant-7-password").decode(), many) == ["env:AGAIN"]


def test_a_text_that_was_clean_is_searched_again_after_a_new_secret() -> None:
    values = SecretFilter({"a-secret-that-is-known": "env:FIRST"})
    text = "the-second-secret and nothing else"
    assert scrub(text, values) == scrub(text, values) == text
    values.add("the-second-secret", "env:SECOND")
    assert scrub(text, values) == "[env:SECOND] and nothing else"


def test_a_secret_that_comes_while_another_thread_searches_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner signs in on one thread and looks through a notebook's outputs on another."""
    adding: list[threading.Thread] = []

    class Slow(tuple[str, ...]):
        def __iter__(self) -> Iterator[str]:
            if not adding:
                adding.append(threading.Thread(target=values.add, args=("a-token-that-comes-now", "token")))
                adding[0].start()
                adding[0].join(0.5)
            return super().__iter__()

    monkeypatch.setattr("runbook_lib.secret.forms", lambda value: Slow([value]))
    values = SecretFilter({"a-secret-that-is-known": "env:FIRST"})
    assert values.found_in("nothing") == {}
    adding[0].join()
    assert values.found_in("shown: a-token-that-comes-now") == {"a-token-that-comes-now": "token"}
