"""Where an inbound rule sends calls: in the parameters, in the PBX, and in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..did_pool import e164

NUMBER, VOICEMAIL, HANG_UP = "FORWARD_TO_NUMBER", "FORWARD_TO_VOICEMAIL", "HANGUP"
#: In the PBX's place of an extension: the number that was called.
KEEP = "0"

_RANGE = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_VOICEMAIL = "voicemail:"


def destination(text: str) -> str:
    """Check where a call goes, as the parameters say it, and return it.

    Raises ``ValueError`` saying what can be written.
    """
    if text in ("keep", "hang up") or re.fullmatch(r"\d{1,20}", text, re.ASCII):
        return text
    if text.startswith("+"):
        return e164(text)
    if text.startswith(_VOICEMAIL) and re.fullmatch(r"\d{1,20}", text.removeprefix(_VOICEMAIL), re.ASCII):
        return text
    if match := _RANGE.fullmatch(text):
        if len(match[1]) != len(match[2]):
            raise ValueError("both ends of a range of extensions need the same number of digits")
        if int(match[1]) >= int(match[2]):
            raise ValueError("the range of extensions is reversed")
        return text
    raise ValueError(
        "an extension has only digits; also allowed: a range of extensions (100-299), keep, "
        "voicemail:EXTENSION, hang up, or an outside number with + and its country code"
    )


def range_size(text: str) -> int | None:
    """Return how many extensions a range has; ``None`` if it is not a range."""
    match = _RANGE.fullmatch(text)
    return int(match[2]) - int(match[1]) + 1 if match else None


def as_sent(text: str) -> dict[str, str]:
    """Return a destination of the parameters as the PBX takes it."""
    if text == "hang up":
        return {"action": HANG_UP, "number": ""}
    if text.startswith(_VOICEMAIL):
        return {"action": VOICEMAIL, "number": text.removeprefix(_VOICEMAIL)}
    return {"action": NUMBER, "number": KEEP if text == "keep" else text}


def destination_in_words(forward: Mapping[str, Any] | None) -> str | None:
    """Return where a rule of the PBX sends a call, in words; ``None`` when that is not set."""
    if not forward or not forward.get("action"):
        return None
    action, number = forward["action"], forward.get("number") or ""
    if action == NUMBER:
        return "keeps the dialled number" if number == KEEP else f"rings {number}"
    if action == VOICEMAIL:
        return f"voicemail of {number}" if number else "voicemail"
    return "hangs up" if action == HANG_UP else str(action).lower().replace("_", " ")
