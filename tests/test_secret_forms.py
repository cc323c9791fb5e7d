"""Every form of a secret, as encoders other than ours and longer texts around it make it."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runbook_lib import secret_forms
from runbook_lib.secret import SecretFilter, find_secrets, scrub
from runbook_lib.secret_forms import forms

AWKWARD = "'\"\\/<>&=+`%$! #;ä€é\u2028😀\t\n"
SECRETS = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(codec="utf-8")), min_size=8, max_size=30)
AROUND = st.text(st.sampled_from("'\"\\ab: é"), max_size=8)


WRITERS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "repr": repr,
    "repr of an exception": lambda text: repr(KeyError(text)),
    "repr in a repr": lambda text: repr([repr(text)]),
    "repr in JSON": lambda text: json.dumps(repr(text)),
    "repr in HTML": lambda text: html.escape(repr(text)),
    "ascii": ascii,
    "ascii in JSON": lambda text: json.dumps(ascii(text)),
    "bytes": lambda text: repr(text.encode()),
    "bytes of JSON": lambda text: repr(json.dumps(text).encode()),
    "bytes of JSON in Unicode": lambda text: repr(json.dumps(text, ensure_ascii=False).encode()),
    "bytes in JSON": lambda text: json.dumps(repr(text.encode())),
    "JSON": json.dumps,
    "JSON in Unicode": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON of PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "HTML": html.escape,
    "HTML of a body": lambda text: html.escape(text, quote=False),
    "HTML in HTML": lambda text: html.escape(html.escape(text)),
    "HTML with &#39;": lambda text: html.escape(text).replace("&#x27;", "&#39;"),
    "HTML with &#34;": lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "URL": lambda text: quote(text, safe=""),
    "URL's path": quote,
    "form": lambda text: urlencode({"Password": text}),
    "form's value in JSON": lambda text: json.dumps(quote_plus(text, safe="!*'()")),
}


def is_found(value: str, text: str) -> bool:
    known = SecretFilter({value: "env:X"})
    return bool(find_secrets(text, known)) and not find_secrets(scrub(text, known), known)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@settings(deadline=None)
@given(SECRETS, AROUND, AROUND)
@example("it's-a-secret", 'vendor said "no" to ', "")
@example('it\'s "both" é€', "", "")
@example("back\\slash's\\u003c", '"', "'")
@example("a plain secret", "'\"", "")
def test_a_longer_text_hides_no_secret(
    writer: Callable[[str], str], value: str, before: str, after: str
) -> None:
    assert is_found(value, f"<{writer(before + value + after)}>")


@settings(deadline=None)
@given(SECRETS, st.sampled_from(["AC1", "AC12", "AC123"]), st.sampled_from(["", ":x", ":xy"]))
def test_base64_at_every_alignment(value: str, user: str, after: str) -> None:
    raw = f"{user}:{value}{after}".encode()
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        header = f"Authorization: Basic {encoded.decode()}"
        for text in (header, quote(header, safe=""), repr(header), json.dumps({"headers": [header]})):
            assert is_found(value, text)


@settings(deadline=None)
@given(SECRETS)
def test_blanks_at_the_ends_may_get_lost(value: str) -> None:
    bare = value.strip()
    if len(bare) >= 8:
        assert is_found(f" {value}\n", json.dumps(f"<{bare}>"))
        assert is_found(f" {value}\n", base64.b64encode(f"user: {value}\n".encode()).decode())


@settings(deadline=None)
@given(
    st.builds(
        lambda word, other: word[:4] + other + word[4:],
        st.text("aZ09_.-", min_size=6, max_size=20),
        st.one_of(st.just(""), st.sampled_from(AWKWARD), st.characters(codec="utf-8")),
    )
)
def test_what_needs_no_escape_has_the_forms_that_escaping_it_gives(value: str) -> None:
    found = forms(value)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_UNESCAPED", "_IN_URLS"):
            patch.setattr(secret_forms, name, re.compile("(?!)"))
        assert found == forms(value)


def test_a_value_of_few_letters_and_blanks_is_looked_for_as_it_is() -> None:
    known = SecretFilter({"  on   ": "env:X"})
    assert scrub("on", known) == "on" and scrub("<  on   >", known) == "<[env:X]>"


def test_plain_values_have_few_forms() -> None:
    assert len(forms("Abcdefgh12345678")) <= 8
    assert len(forms("Abc-def_gh+12345678")) <= 24
