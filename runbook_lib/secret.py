"""Secrets: references to them in parameters, their values in a type that shows nothing, and a filter.

Whatever leaves the process passes ``scrub``, which knows every value that was resolved in it, also
in the forms that it takes on the way (URL-encoded, base64, JSON, HTML).
"""

from __future__ import annotations

import base64
import hmac
import html
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

from .errors import SecretError

#: Shorter values are not looked for: they would match ordinary words. Live sites refuse them.
SHORTEST_FILTERED = 6

_known: dict[str, str] = {}


@dataclass(frozen=True)
class SecretRef:
    """Where a secret lies: ``env:NAME``, ``file:PATH`` or ``keyring:SERVICE/USER``."""

    kind: str
    place: str

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """Read a reference. Raises ``ValueError`` without repeating the text: it may be the secret itself."""
        kind, colon, place = text.partition(":")
        fits = {
            "env": re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", place),
            "file": place and "\0" not in place,
            "keyring": re.fullmatch(r"[^/]+/.+", place),
        }
        if not colon or not fits.get(kind):
            raise ValueError(
                "give a reference (env:NAME, file:PATH or keyring:SERVICE/USER), never the value"
            )
        return cls(kind, place)

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"


class Secret:
    """A secret's value. Shows nothing, whatever it is put into; ``reveal`` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, to hand it to a vendor's client."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "(secret)"

    def __format__(self, _: str) -> str:
        return "(secret)"

    def _repr_html_(self) -> str:
        return "(secret)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


def resolve(reference: SecretRef, root: Path) -> Secret:
    """Return a secret's value and make the filter know it.

    ``file:`` paths are relative to ``root``; one line end at the end is not part of the value.
    Raises ``SecretError`` naming the reference, never the value.
    """
    reader = {"env": _from_environment, "file": _from_file, "keyring": _from_keyring}[reference.kind]
    value = reader(reference.place, root)
    if not value:
        raise SecretError([f"{reference} is empty or does not exist"])
    _known[value] = str(reference)
    return Secret(value)


def remember(value: str, name: str) -> None:
    """Make the filter know a secret that a vendor gave us (a token)."""
    _known[value] = name


def sip_password_problem(value: str) -> str | None:
    """Say what Twilio would refuse about a SIP password (never repeating it); ``None`` if nothing.

    Source: Twilio, SIP Credential resource: 12 characters or more, upper and lower case, a digit.
    """
    if len(value) < 12:
        return "shorter than 12 characters"
    for what, found in (
        ("an upper-case letter", any(c.isupper() for c in value)),
        ("a lower-case letter", any(c.islower() for c in value)),
        ("a digit", any(c.isdigit() for c in value)),
    ):
        if not found:
            return f"without {what}"
    return None


def forms(value: str) -> set[str]:
    """Return the forms that a value takes: raw, URL-encoded, base64, JSON- and HTML-escaped."""
    found = {
        value,
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        html.escape(value).replace("&#x27;", "&#39;"),
    }
    return found | set(_base64_forms(value.encode()))


def scrub(text: str, known: dict[str, str] | None = None) -> str:
    """Return a text with every form of every known secret replaced by its reference in brackets."""
    known = _known if known is None else known
    for value in sorted(known, key=len, reverse=True):
        if len(value) >= SHORTEST_FILTERED:
            for form in sorted(forms(value), key=len, reverse=True):
                text = text.replace(form, f"[{known[value]}]")
    return text


def find(content: bytes, known: dict[str, str] | None = None) -> list[str]:
    """Return the references of the secrets of which any form is in the content."""
    known = _known if known is None else known
    return sorted(
        {
            reference
            for value, reference in known.items()
            if len(value) >= SHORTEST_FILTERED and any(form.encode() in content for form in forms(value))
        }
    )


def _base64_forms(raw: bytes) -> Iterable[str]:
    """The characters of base64 that depend on the value alone, at each of the three alignments.

    A Basic header holds ``user:value``: what comes before decides the alignment.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        skip = (0, 2, 3)[before]
        # The last character may depend on what follows the value.
        exact = encoded[skip:] if (before + len(raw)) % 3 == 0 else encoded[skip:-1]
        if len(exact) >= SHORTEST_FILTERED:
            yield exact
            yield exact.replace("+", "-").replace("/", "_")


def _from_environment(place: str, _: Path) -> str:
    return os.environ.get(place, "")


def _from_file(place: str, root: Path) -> str:
    try:
        text = (root / Path(place).expanduser()).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SecretError([f"file:{place} cannot be read ({reason})"]) from None
    return text.removesuffix("\n").removesuffix("\r")


def _from_keyring(place: str, _: Path) -> str:
    import keyring  # only who uses it pays for the import
    from keyring.errors import KeyringError

    service, _slash, user = place.partition("/")
    try:
        return keyring.get_password(service, user) or ""
    except KeyringError as error:
        raise SecretError([f"keyring:{place} cannot be read ({type(error).__name__})"]) from None
