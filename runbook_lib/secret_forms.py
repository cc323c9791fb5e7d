r"""The forms that a secret's value takes on its way out: encoded, escaped, quoted.

The escaping can depend on more than the secret: which quotation mark Python escapes depends on
the whole literal, and how HTML escapes an apostrophe on the tool that wrote it. So each is a form.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

#: Shorter values are not searched for: filtering ``admin`` or ``1234`` would wreck ordinary text. A
#: live site refuses secrets below 8 characters; the sandbox creates its own of 20 and more.
SHORTEST_FILTERED = 6
#: What every escape leaves as it is, and what every URL does: most values, and nearly all in base64.
_UNESCAPED = re.compile(r"[A-Za-z0-9 _.-]*")
_IN_URLS = re.compile(r"[A-Za-z0-9_.-]*")


def needle(value: str) -> str:
    """Return the part of a value to search for: without blanks at its ends, which are often lost.

    A value that would be too short without them is searched for unchanged.
    """
    bare = value.strip()
    return bare if len(bare) >= SHORTEST_FILTERED else value


def forms(value: str) -> frozenset[str]:
    """Return the forms that a value takes on its way out.

    Raw, URL-encoded, and base64 (standard and URL-safe, at each of the three alignments inside a
    longer text such as a Basic header's ``user:value``), each of these also escaped as Python, JSON
    and HTML do it; and all of these as our own artefacts escape them once more (a notebook holds JSON
    in JSON). Programs that escape in their own ways take no part: what vendors answer is read as
    JSON before it is kept.
    """
    bare = needle(value)
    found = {bare, *_url_forms(bare)}
    for encoding in ("utf-8", "utf-16-le", "latin-1"):
        try:
            encoded = set(_base64_forms(bare.encode(encoding)))
        except UnicodeEncodeError:
            continue
        found |= encoded | {form for text in encoded for form in _url_forms(text)}
    found |= {escape(form) for form in _escaped(found) for escape in _ALL}
    found |= {escape(form) for form in _escaped(found) for escape in _OURS}
    return frozenset(found)


def _escaped(texts: Iterable[str]) -> list[str]:
    """Those that an escape may change."""
    return [text for text in texts if not _UNESCAPED.fullmatch(text)]


def _json_ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_unicode(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_with_slashes(text: str) -> str:
    return _json_unicode(text).replace("/", "\\/")


def _json_ascii_with_slashes(text: str) -> str:
    return _json_ascii(text).replace("/", "\\/")


def _python_quoted(text: str) -> str:
    # Behind a quotation mark, repr escapes every apostrophe.
    return repr('"' + text + "'")[2:-3]


def _python(text: str) -> str:
    return _python_quoted(text).replace("\\'", "'")


def _python_ascii_quoted(text: str) -> str:
    return ascii('"' + text + "'")[2:-3]


def _python_ascii(text: str) -> str:
    return _python_ascii_quoted(text).replace("\\'", "'")


def _python_bytes_quoted(text: str) -> str:
    return repr(b'"' + text.encode(errors="surrogatepass") + b"'")[3:-3]


def _python_bytes(text: str) -> str:
    return _python_bytes_quoted(text).replace("\\'", "'")


def _python_bytes_of_json(text: str) -> str:
    """As an HTTP client's error shows the body of an answer."""
    return _python_bytes(_json_unicode(text))


def _python_bytes_of_json_quoted(text: str) -> str:
    return _python_bytes_quoted(_json_unicode(text))


def _html_body(text: str) -> str:
    return html.escape(text, quote=False)


def _html_apostrophe(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#39;")


def _html_decimal(text: str) -> str:
    return _html_apostrophe(text).replace("&quot;", "&#34;")


Escapes = tuple[Callable[[str], str], ...]

#: How our own artefacts are written: notebooks, journals, pages, tracebacks.
_OURS: Escapes = (
    _json_ascii,
    _json_unicode,
    _python,
    _python_quoted,
    html.escape,
    _html_body,
    _html_decimal,
)

_ALL: Escapes = (
    *_OURS,
    _json_with_slashes,
    _json_ascii_with_slashes,
    _python_ascii,
    _python_ascii_quoted,
    _python_bytes,
    _python_bytes_quoted,
    _python_bytes_of_json,
    _python_bytes_of_json_quoted,
    _html_apostrophe,
)

#: Characters that HTTP clients do not encode in paths, queries and forms.
_SAFE = ("", "/", "~", "/~", "!$&'()*+,;=:@", "!$&'()*+,;=:@/?", "!*'()", "*")


def _url_forms(text: str) -> Iterator[str]:
    if _IN_URLS.fullmatch(text):
        yield text
        return
    for safe in _SAFE:
        for encode in (quote, quote_plus):
            form = encode(text, safe=safe)
            yield form
            yield re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), form)


def _base64_forms(raw: bytes) -> Iterable[str]:
    """The characters of base64 that depend on the value alone, at each of the three alignments.

    A Basic header contains ``user:value``: what comes before determines the alignment.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        skip = (0, 2, 3)[before]
        # The last character may depend on what follows the value.
        exact = encoded[skip:] if (before + len(raw)) % 3 == 0 else encoded[skip:-1]
        if len(exact) >= SHORTEST_FILTERED:
            yield exact
            yield exact.replace("+", "-").replace("/", "_")
