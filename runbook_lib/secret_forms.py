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


def needle(value: str) -> str:
    """Return the part of a value to search for: without blanks at its ends, which are often lost.

    A value that would be too short without them is searched for unchanged.
    """
    bare = value.strip()
    return bare if len(bare) >= SHORTEST_FILTERED else value


def forms(value: str) -> frozenset[str]:
    """Return the forms that a value takes on its way out.

    Raw, URL-encoded, and base64 (standard and URL-safe, at each of the three alignments inside a
    longer text such as a Basic header's ``user:value``), each of these also escaped as anybody's
    Python, JSON or HTML may do it; quoted for a shell, and in UTF-8 misread as Latin-1. All
    of these also as our own artefacts escape them, once and twice (a notebook contains JSON in JSON).
    """
    bare = needle(value)
    found = {bare, *_url_forms(bare)}
    for encoding in ("utf-8", "utf-16-le", "latin-1"):
        try:
            encoded = set(_base64_forms(bare.encode(encoding)))
        except UnicodeEncodeError:
            continue
        found |= encoded | {form for one in encoded for form in _url_forms(one)}
    found |= {escape(form) for form in found for escape in _ANYBODYS}
    # These two already give many forms: combinations with others are omitted.
    rare = {*_shell_forms(bare), *_misread(bare)}
    found |= rare | {escape(form) for form in rare for escape in _OURS}
    found |= {escape(form) for form in found for escape in _OURS}
    return frozenset(found)


def _shell_forms(text: str) -> Iterator[str]:
    """An apostrophe inside apostrophes, as ``shlex.quote`` writes it and as bash itself does."""
    yield text.replace("'", "'\"'\"'")
    yield text.replace("'", "'\\''")


def _misread(text: str) -> Iterator[str]:
    """UTF-8 misread as Latin-1 or as Windows' Latin-1."""
    for encoding in ("latin-1", "cp1252"):
        try:
            yield text.encode().decode(encoding)
        except UnicodeError:
            continue


def _json_ascii(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_unicode(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_with_slashes(text: str) -> str:
    return _json_unicode(text).replace("/", "\\/")


def _json_php(text: str) -> str:
    return _json_ascii(text).replace("/", "\\/")


def _json_go(text: str) -> str:
    return _as_units(_json_unicode(text), "<>&")


def _json_gson(text: str) -> str:
    return _as_units(_json_unicode(text), "<>&'=")


def _json_flask(text: str) -> str:
    return _as_units(_json_ascii(text), "<>&'")


def _json_dotnet(text: str) -> str:
    quoted = re.sub(r'(\\\\)|\\"', lambda one: one[1] or "\\u0022", _json_ascii(text))
    return _upper_units(_as_units(quoted, "<>&'+`"))


def _json_upper(text: str) -> str:
    return _upper_units(_json_ascii(text))


def _as_units(text: str, characters: str) -> str:
    return re.sub(f"[{re.escape(characters)}]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _upper_units(text: str) -> str:
    """JSON's ``\\u…`` in capitals, except after an escaped backslash, where it is not an escape."""
    return re.sub(r"(\\\\)|\\u[0-9a-f]{4}", lambda one: one[1] or "\\u" + one[0][2:].upper(), text)


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


def _html_attribute(text: str) -> str:
    return html.escape(text)


def _html_body(text: str) -> str:
    return html.escape(text, quote=False)


def _html_apostrophe(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#39;")


def _html_decimal(text: str) -> str:
    return _html_apostrophe(text).replace("&quot;", "&#34;")


def _html_named(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&apos;")


def _html_attribute_ascii(text: str) -> str:
    return _references(_html_attribute(text), "&#{};")


def _html_body_ascii(text: str) -> str:
    return _references(_html_body(text), "&#{};")


def _html_decimal_ascii(text: str) -> str:
    return _references(_html_decimal(text), "&#{};")


def _html_hex(text: str) -> str:
    return _references(html.escape(text).replace("&quot;", "&#x22;"), "&#x{:x};")


def _html_attribute_hex(text: str) -> str:
    return _references(html.escape(text), "&#x{:x};")


def _html_attribute_upper_hex(text: str) -> str:
    return _references(html.escape(text), "&#x{:X};")


def _references(text: str, form: str) -> str:
    """Write every character outside ASCII as a reference to its number."""
    return re.sub("[^\0-\x7f]", lambda match: form.format(ord(match[0])), text)


Escapes = tuple[Callable[[str], str], ...]

#: How our own artefacts are written: notebooks, journals, pages, tracebacks.
_OURS: Escapes = (
    _json_ascii,
    _json_unicode,
    _python,
    _python_quoted,
    _html_attribute,
    _html_body,
    _html_decimal,
)

_ANYBODYS: Escapes = (
    *_OURS,
    _json_with_slashes,
    _json_php,
    _json_go,
    _json_gson,
    _json_flask,
    _json_dotnet,
    _json_upper,
    _python_ascii,
    _python_ascii_quoted,
    _python_bytes,
    _python_bytes_quoted,
    _python_bytes_of_json,
    _python_bytes_of_json_quoted,
    _html_apostrophe,
    _html_named,
    _html_attribute_ascii,
    _html_body_ascii,
    _html_decimal_ascii,
    _html_hex,
    _html_attribute_hex,
    _html_attribute_upper_hex,
)

#: Characters that HTTP clients do not encode in paths, queries and forms.
_SAFE = ("", "/", "~", "/~", "!$&'()*+,;=:@", "!$&'()*+,;=:@/?", "!*'()", "*")


def _url_forms(text: str) -> Iterator[str]:
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
