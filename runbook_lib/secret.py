"""Secrets: references to them in parameters, their values in a type that never shows them, and a filter.

Everything that leaves the process passes ``scrub``, which knows every value that was resolved in it, in
every form that it can take on the way (``secret_forms``).
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import stat
import threading
import unicodedata
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import ahocorasick

from .errors import InputError, SecretError
from .paths import locate, looked_for
from .secret_forms import SHORTEST_FILTERED, forms, needle

#: A larger file is not a secret, and is never read whole.
LARGEST_FILE = 65_536

#: Invisible characters that Unicode counts as letters, marks or symbols: fillers,
#: joiners and selectors of variants (Default_Ignorable_Code_Point), and the empty Braille pattern.
_LEAVES_NO_MARK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

#: How many texts without a secret the filter remembers, and the most characters that such a text may have.
CLEAN_TEXTS, LONGEST_CLEAN = 512, 65_536

#: Tokens that the filter knows at the same time; a session has two, a section at most two sessions.
LATEST_TOKENS = 40


class SecretFilter:
    """Searches a text for every form of every value in one pass, however many values there are.

    A batch of hundreds of tenants knows thousands of secrets, and every output passes here: again with each
    saving of its notebook, so a text without a secret is searched once, until there is a new secret.
    """

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names: dict[str, str] = {}
        self._forms: dict[str, frozenset[str]] = {}
        #: What searches, and texts in which it found nothing.
        self._search: tuple[ahocorasick.Automaton, set[str]] | None = None
        # The runner signs in on one thread and searches outputs on another.
        self._changing = threading.RLock()
        for value, name in (names or {}).items():
            self.add(value, name)

    @property
    def names(self) -> Mapping[str, str]:
        """The values, each with the reference or name that is shown for it."""
        return self._names

    def add(self, value: str, name: str) -> None:
        """Search for a value from now on; ignores one shorter than ``SHORTEST_FILTERED``."""
        with self._changing:
            if self._names.get(value) == name:
                return
            self._names[value] = name
            if len(value) >= SHORTEST_FILTERED and value not in self._forms:
                self._forms[value] = _secrets._forms.get(value) or forms(value)
            self._search = None

    def discard(self, value: str) -> None:
        """Stop searching for a value."""
        with self._changing:
            self._names.pop(value, None)
            self._forms.pop(value, None)
            self._search = None

    def found_in(self, text: str) -> dict[str, str]:
        """Return the forms that are in a text, each with its value's name."""
        # Built aside and then put in place: another thread may be searching.
        automaton, clean = self._search or self._built()
        if text in clean or not len(automaton):
            return {}
        found = dict(found for _, found in automaton.iter(text))
        if not found and len(text) <= LONGEST_CLEAN:
            if len(clean) >= CLEAN_TEXTS:
                clean.clear()
            clean.add(text)
        return found

    def _built(self) -> tuple[ahocorasick.Automaton, set[str]]:
        with self._changing:
            automaton = ahocorasick.Automaton()
            for value, its_forms in self._forms.items():
                for form in its_forms:
                    automaton.add_word(form, (form, self._names[value]))
            automaton.make_automaton()
            self._search = automaton, set()
            return self._search


_secrets, _tokens = SecretFilter(), SecretFilter()
_latest_tokens: deque[str] = deque()
_remembering = threading.Lock()


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is stored: ``env:NAME``, ``file:PATH`` or ``keyring:SERVICE/USER``.

    ``folder`` is that of the parameter file with the reference: a ``file:`` path starts there.
    """

    kind: str
    place: str
    folder: Path | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """Read a reference. Raises ``ValueError`` without repeating the text: it may be the secret itself."""
        kind, colon, place = text.partition(":")
        fits = {
            "env": re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", place, re.ASCII),
            "file": place and place.isprintable() and place == place.strip(),
            "keyring": place.isprintable() and re.fullmatch(r"[^/]+/.+", place),
        }
        if not colon or not fits.get(kind):
            raise ValueError("give a reference (env:NAME, file:PATH, keyring:SERVICE/USER), not the value")
        return cls(kind, place)

    def __str__(self) -> str:
        return f"{self.kind}:{self.place}"


class Secret:
    """A secret's value. It never shows itself; ``reveal`` is the only access.

    It compares in constant time, and cannot be pickled, copied or put into JSON (``TypeError``).
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value, to pass it to a vendor's client."""
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

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


def resolve(reference: SecretRef, root: Path) -> Secret:
    """Return a secret's value and register it with the filter; see ``look_up``."""
    secret = look_up(reference, root)
    remember(secret.reveal(), str(reference))
    return secret


def look_up(reference: SecretRef, root: Path) -> Secret:
    """Return a secret's value without registering it with the filter.

    ``file:`` paths are looked up beside the parameter file, then in ``root``; one line ending at the end
    of a file is not part of the value. Raises ``SecretError`` naming the reference, never the value;
    also for a value with an invisible character, which nobody would find once it is written to
    both vendors.
    """
    if reference.kind == "file":
        value: str | None = _from_file(reference, root)
    elif reference.kind == "env":
        value = os.environ.get(reference.place)
    else:
        value = _from_keyring(reference.place)
    if value is None:
        raise SecretError([f"{reference} does not exist"])
    if not value.strip():
        raise SecretError([f"{reference} is empty"])
    if unseen := _unseen(value):
        raise SecretError([f"{reference} contains an invisible character: {unseen}; remove it"])
    return Secret(value)


def _unseen(value: str) -> str:
    """Return the position and name of the first invisible character; empty if there is none.

    A space between two characters is visible; one at either end is not.
    """
    ends = (1, len(value))
    for place, character in enumerate(value, start=1):
        blank_end = character == " " and place in ends
        if blank_end or not character.isprintable() or _LEAVES_NO_MARK.match(character):
            return f"character {place} is U+{ord(character):04X} ({_name_of(character)})"
    return ""


#: What Unicode calls control characters; Python knows these names, but only the other way round.
_CONTROLS = {
    unicodedata.lookup(name): name
    for name in (
        *("NULL", "BACKSPACE", "CHARACTER TABULATION", "LINE FEED", "LINE TABULATION", "FORM FEED"),
        *("CARRIAGE RETURN", "ESCAPE", "DELETE", "NEXT LINE"),
    )
}


def _name_of(character: str) -> str:
    if character == "\ufeff":
        return "ZERO WIDTH NO-BREAK SPACE, the byte order mark"
    if character in _CONTROLS:
        return _CONTROLS[character]
    return unicodedata.name(character, "a character without a name")


def exposure(reference: SecretRef, root: Path) -> str:
    """Return who else can access a secret's file; empty if nobody can, and for other kinds of places."""
    path = _file_of(reference, root)
    if path is None:
        return ""
    status, folder = path.stat(), path.resolve().parent.stat()
    mode, found = stat.S_IMODE(status.st_mode), []
    if status.st_uid not in (0, os.getuid()):
        found.append("it belongs to another user")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        found.append("others can write it")
    if mode & stat.S_IROTH:
        found.append("everybody can read it")
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        found.append("everybody can put another file in its place")
    return f"{', '.join(found)} (mode {mode:04o})" if found else ""


def written_at(reference: SecretRef, root: Path) -> datetime | None:
    """Return when a secret's file was last written; ``None`` for other kinds of places."""
    path = _file_of(reference, root)
    return None if path is None else datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _file_of(reference: SecretRef, root: Path) -> Path | None:
    """The file of a reference; ``None`` if it cannot be read, which ``look_up`` reports."""
    if reference.kind != "file":
        return None
    try:
        path = locate(reference.place, reference.folder, root)
        return path if path is not None and path.is_file() else None
    except (InputError, OSError):
        return None


def remember(value: str, name: str) -> None:
    """Register a secret with the filter, including a vendor's token; ``name`` is shown in its place.

    For a value of several lines, each line is registered too, because notebooks store text line by line.
    """
    for part in _parts(value):
        _secrets.add(part, name)


#: One word, as keys and titles are, or one number; what is longer is not a word that records have.
_WORD = re.compile(r"(?:[^\W\d]|[_.-]){1,15}|\d{1,15}")


def is_one_word(value: str) -> bool:
    """Whether a secret, or a line of it, is a short word or number that a record holds anyway.

    The filter would take it out of every text, and what is left out would show what it is.
    """
    needles = (needle(part) for part in _parts(value))
    return any(len(word) >= SHORTEST_FILTERED and _WORD.fullmatch(word) for word in needles)


def _parts(value: str) -> tuple[str, ...]:
    return (value, *value.splitlines())


def remember_token(value: str, name: str) -> None:
    """Register a token, which is useless after its session, with the filter.

    Only the latest are kept (``LATEST_TOKENS``): a process that lives for days signs in thousands of
    times. One that still lives is remembered again with its use.
    """
    with _remembering:
        if value in _latest_tokens:
            _latest_tokens.remove(value)
        _latest_tokens.append(value)
        _tokens.add(value, name)
        while len(_latest_tokens) > LATEST_TOKENS:
            _tokens.discard(_latest_tokens.popleft())


def known() -> dict[Secret, str]:
    """Return every secret that the filter knows, with the reference or name shown in its place."""
    return {Secret(value): name for one in (_secrets, _tokens) for value, name in list(one.names.items())}


def sip_password_problem(value: str) -> str | None:
    """Return why Twilio would refuse a SIP password (never repeating it); ``None`` if it would not.

    Source: Twilio, SIP Credential resource: 12 characters or more, upper and lower case, a digit.
    """
    if len(value) < 12:
        return "shorter than 12 characters"
    for what, found in (
        ("an upper-case letter", re.search("[A-Z]", value)),
        ("a lower-case letter", re.search("[a-z]", value)),
        ("a digit", re.search("[0-9]", value)),
    ):
        if not found:
            return f"without {what}"
    return None


def scrub(text: str, known: SecretFilter | None = None) -> str:
    """Return a text with every form of every known secret replaced by its reference in brackets.

    ``known`` replaces the secrets that this process has resolved.
    """
    found = _found_in(text, known)
    if not found:
        return text
    longest_first = sorted(found, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda match: f"[{found[match[0]]}]", text)


def scrub_data(content: Any) -> Any:
    """Return plain data (mappings, lists, texts, numbers; anything else as it is) with every text scrubbed.

    Unlike ``scrub`` on JSON, this cannot break it: a reference may hold a quotation mark, and keys,
    which are ours or the vendors', stay as they are. A number with a secret's digits becomes a text.
    """
    if isinstance(content, str):
        return scrub(content)
    if isinstance(content, int | float) and not isinstance(content, bool):
        digits = str(content)
        clean = scrub(digits)
        return content if clean == digits else clean
    if isinstance(content, Mapping):
        return {key: scrub_data(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [scrub_data(one) for one in content]
    return content


def scrub_log(record: logging.LogRecord) -> bool:
    """Remove known secrets from a log record; for use as a logger's filter that accepts all records."""
    record.msg, record.args = scrub(record.getMessage()), None
    if record.exc_info:
        record.exc_text = scrub(logging.Formatter().formatException(record.exc_info))
    return True


def find_secrets(content: str | bytes, known: SecretFilter | None = None) -> list[str]:
    """Return the references to the known secrets that the content has in any form, sorted."""
    text = content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
    return sorted(set(_found_in(text, known).values()))


def _found_in(text: str, known: SecretFilter | None) -> dict[str, str]:
    if known is not None:
        return known.found_in(text)
    return _tokens.found_in(text) | _secrets.found_in(text)


def _from_file(reference: SecretRef, root: Path) -> str:
    folders = (reference.folder, root)
    try:
        path = locate(reference.place, *folders)
    except InputError as error:
        raise SecretError([f"file:{error.problems[0]}"]) from None
    if path is None:
        raise SecretError(
            [f"{reference} does not exist: there is no {looked_for(reference.place, *folders)}"]
        )
    # With the full path, because the reference's path may start at more than one folder.
    shown = f"{reference} ({path})"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SecretError([f"{shown} is not a file"])
        if status.st_size > LARGEST_FILE:
            raise SecretError([f"{shown} is larger than {LARGEST_FILE:,} bytes: not a secret"])
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SecretError([f"{shown} cannot be read ({error.strerror or type(error).__name__})"]) from None
    except UnicodeDecodeError:
        raise SecretError([f"{shown} cannot be read (it is not text)"]) from None
    return re.sub(r"\r?\n\Z", "", text)


def _from_keyring(place: str) -> str | None:
    import keyring  # imported only if used
    from keyring.errors import KeyringError

    service, _slash, user = place.partition("/")
    try:
        return keyring.get_password(service, user)
    except KeyringError as error:
        raise SecretError([f"keyring:{place} cannot be read ({type(error).__name__})"]) from None
