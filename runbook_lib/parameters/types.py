"""The types that parameter values have: strict, and with messages that say what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from ..did_pool import DidPool, e164
from ..secret import SecretRef
from ..sip_uri import address, check_host, termination_label

UNQUOTED = "YAML reads this as a number or a date: put it in quotes"


class Strict(BaseModel):
    """A mapping of the parameters: no unknown keys, no conversions, no values in messages."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class KeyedError(ValueError):
    """A problem that several keys make together, told at the one to change (``"pbx.url"``)."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.path = tuple(key.split("."))


def _text(value: Any) -> Any:
    if value is not None and not isinstance(value, str | list | dict):
        raise ValueError(UNQUOTED)
    return value


def _parsed(parse: Callable[[str], Any], kind: type | None = None) -> PlainValidator:
    def read(value: Any) -> Any:
        if kind is not None and isinstance(value, kind):
            return value
        if not isinstance(_text(value), str):
            raise ValueError("write a text here")
        return parse(value)

    return PlainValidator(read)


def _ipv4(text: str) -> str:
    if address(text) is None:
        raise ValueError("not an IPv4 address (Twilio's lists take IPv4 only)")
    return text


def _folder_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,62}", text, re.ASCII) or text.endswith("."):
        raise ValueError(
            "it names a folder of the records: lower-case letters, digits, '-', '_', single dots; at most 63"
        )
    return text


def _sid(prefix: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(prefix + r"[0-9a-f]{32}", text, re.ASCII):
            raise ValueError(f"not a sid: {prefix} and 32 hexadecimal digits")
        return text

    return read


def _https_url(text: str) -> str:
    if not re.fullmatch(r"https://[A-Za-z0-9.\[\]:-]+(?:/api)?/?", text, re.ASCII):
        raise ValueError("give the PBX's API as https://HOST:PORT")
    return text


def _pin(text: str) -> str:
    if not re.fullmatch(r"(?:sha256:)?(?:[0-9a-fA-F]{2}:?){32}", text, re.ASCII):
        raise ValueError("not a SHA-256 fingerprint: 64 hexadecimal digits")
    return text


def _words(text: str) -> str:
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise ValueError("write a text without line breaks, control characters or outer spaces")
    return text


def _string(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, _parsed(_words), _string(minLength=1, maxLength=64), Field(max_length=64)]
FolderName = Annotated[str, _parsed(_folder_name), _string(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Pool = Annotated[DidPool, _parsed(DidPool.parse, DidPool), _string(pattern=r"^[0-9 ;-]+$")]
Number = Annotated[str, _parsed(e164), _string(pattern=r"^\+[1-9][0-9]{1,14}$")]
Reference = Annotated[
    SecretRef, _parsed(SecretRef.parse, SecretRef), _string(pattern=r"^(env|file|keyring):.+$")
]
Host = Annotated[str, _parsed(check_host), _string()]
Ipv4 = Annotated[str, _parsed(_ipv4), _string(format="ipv4")]
Label = Annotated[str, _parsed(termination_label), _string()]
AccountSid = Annotated[str, _parsed(_sid("AC")), _string(pattern="^AC[0-9a-f]{32}$")]
ApiKeySid = Annotated[str, _parsed(_sid("SK")), _string(pattern="^SK[0-9a-f]{32}$")]
HttpsUrl = Annotated[str, _parsed(_https_url), _string(format="uri", pattern="^https://")]
Fingerprint = Annotated[str, _parsed(_pin), _string()]
