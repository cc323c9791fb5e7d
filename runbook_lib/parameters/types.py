"""The types of parameter values: strict, with messages that say what to write instead.

No message repeats a value, except numbers of a DID pool: a value at the wrong key may be a secret.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from ..dialling.countries import is_country
from ..dialling.destinations import destination
from ..did_pool import DidPool, e164
from ..paths import NamedFile
from ..secret import SecretRef
from ..sip_uri import address, check_host, termination

UNQUOTED = "YAML reads this as a number, a date or true/false: put it in quotes"
FINGERPRINT = re.compile(r"(?:sha256:)?(?:[0-9a-fA-F]{64}|(?:[0-9a-fA-F]{2}:){31}[0-9a-fA-F]{2})", re.ASCII)


class Strict(BaseModel):
    """A mapping of the parameters: no unknown keys, no conversions, no values in messages."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


def _reader(parse: Callable[[str], Any], kind: type | None = None) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if kind is not None and isinstance(value, kind):
            return value
        if value is None:
            raise ValueError("is empty: write text here")
        if isinstance(value, list | dict):
            raise ValueError("write text here, not a list or a mapping")
        if not isinstance(value, str):
            raise ValueError(UNQUOTED)
        return parse(value)

    return read


def _parsed(parse: Callable[[str], Any], kind: type | None = None) -> PlainValidator:
    return PlainValidator(_reader(parse, kind))


def _beside(parse: Callable[[str], Any], kind: type) -> PlainValidator:
    """As ``_parsed``, for what names a file: that starts at the folder of the parameter file."""
    read = _reader(parse, kind)

    def read_beside(value: Any, info: ValidationInfo) -> Any:
        found = read(value)
        return replace(found, folder=info.context["folder"]) if info.context else found

    return PlainValidator(read_beside)


def _named_file(text: str) -> NamedFile:
    return NamedFile(_words(1024)(text))


def _one_entry(text: str) -> DidPool:
    pool = DidPool.parse(text)
    if len(pool.entries) > 1:
        raise ValueError("an inbound rule can have one number or one range: write one rule for each")
    return pool


def _ipv4(text: str) -> str:
    if address(text) is None:
        raise ValueError("not an IPv4 address (Twilio's lists accept only IPv4)")
    return text


def _ipv4_range(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError:
        raise ValueError("not an IPv4 range: write its first address and its length, 192.0.2.0/24") from None


def _domain(text: str) -> str:
    if address(check_host(text)) is not None:
        raise ValueError("an IP address: give the tenant's SIP domain as the PBX shows it")
    return text


def _folder_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,62}", text, re.ASCII) or text.endswith("."):
        raise ValueError(
            "it is the name of a folder in the records: use lower-case letters, digits, '-', '_' "
            "and single dots; at most 63 characters"
        )
    return text


def _https_url(text: str) -> str:
    problem = ValueError("give the PBX's API as https://HOST:PORT, with or without /api")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem from None
    host = f"{parts.hostname}:{port}" if port else parts.hostname
    if parts.scheme != "https" or parts.netloc != host or not 1 <= (port or 443) <= 65535:
        raise problem
    if (
        parts.path not in ("", "/", "/api", "/api/")
        or parts.query
        or parts.fragment
        or not text.isprintable()
    ):
        raise problem
    check_host(parts.hostname or "")
    return text


def _proxy(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host and "@" in parts.netloc:
        raise ValueError(
            "no user name or password here, because every record would contain them: use a proxy that does"
            " not ask this machine for one"
        )
    labels = (host or "").split(".")
    if (
        not port
        or not all(re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", label) for label in labels)
        or text.removesuffix("/").lower() != f"http://{host}:{port}"
    ):
        raise ValueError("give the proxy as http://HOST:PORT; it must allow tunnels (CONNECT)")
    return f"http://{host}:{port}"


def _matching(pattern: str, message: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(message)
        return text

    return read


def is_plain(text: str) -> bool:
    """Whether a text is one line that is displayed in the order in which it is written.

    Spaces of any script, joiners, direction marks and emoji are allowed. The result does not depend on
    which characters this version of Python knows.
    """
    return not any(unicodedata.category(one) in _NOT_PLAIN or one in _OVERRIDES for one in text)


#: Controls, surrogates, line and paragraph separators.
_NOT_PLAIN = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Characters that reorder the text after them: embeddings, overrides, isolates (Unicode, UAX 9).
_OVERRIDES = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def _words(longest: int) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not text:
            raise ValueError("is empty: write text here")
        if text != text.strip():
            raise ValueError("begins or ends with a space: delete it")
        if not is_plain(text):
            raise ValueError(
                "contains a line break, a control character, or a character that reorders the text after it:"
                " type it again"
            )
        if len(text) > longest:
            raise ValueError(f"longer than {longest} characters")
        return text

    return read


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _country(text: str) -> str:
    if not is_country(text):
        raise ValueError("not a country: use the two letters of ISO 3166, such as DE or US")
    return text


def _expected(text: str) -> str:
    if text in ("none", "emergency"):
        return text
    if not text.startswith("+"):
        raise ValueError("write the number that Twilio must receive (+E.164), none or emergency")
    return e164(text)


def _string(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


def _pattern_type(pattern: str, message: str) -> Any:
    return Annotated[str, _parsed(_matching(pattern, message)), _string(pattern=f"^{pattern}$")]


_written = PlainSerializer(str, return_type=str)

Name = Annotated[str, _parsed(_words(64)), _string(minLength=1, maxLength=64)]
FilePath = Annotated[NamedFile, _beside(_named_file, NamedFile), _string(minLength=1), _written]
FolderName = Annotated[str, _parsed(_folder_name), _string(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
PoolText = Annotated[DidPool, _parsed(DidPool.parse, DidPool), _string(pattern=r"^[0-9 ;-]+$"), _written]
OneEntry = Annotated[DidPool, _parsed(_one_entry, DidPool), _string(pattern=r"^[0-9 -]+$"), _written]
Number = Annotated[str, _parsed(e164), _string(pattern=r"^\+[1-9][0-9]{1,14}$")]
Reference = Annotated[
    SecretRef, _beside(SecretRef.parse, SecretRef), _string(pattern=r"^(env|file|keyring):.+$"), _written
]
Host = Annotated[str, _parsed(check_host), _string()]
Domain = Annotated[str, _parsed(_domain), _string()]
Ipv4 = Annotated[str, _parsed(_ipv4), _string(format="ipv4")]
Ipv4Range = Annotated[str, _parsed(_ipv4_range), _string(pattern=r"^[0-9.]+(/[0-9]{1,2})?$")]
ProxyUrl = Annotated[str, _parsed(_proxy), _string(format="uri", pattern="^[Hh][Tt][Tt][Pp]://")]
TerminationName = Annotated[str, _parsed(termination), _string()]
HttpsUrl = Annotated[str, _parsed(_https_url), _string(format="uri", pattern="^https://")]
AccountSid = _pattern_type("AC[0-9a-f]{32}", "not an account SID: AC and 32 hexadecimal digits in lower case")
ApiKeySid = _pattern_type("SK[0-9a-f]{32}", "not an API key SID: SK and 32 hexadecimal digits in lower case")
Fingerprint = Annotated[
    str,
    _parsed(_matching(FINGERPRINT.pattern, "not a SHA-256 fingerprint: 64 hexadecimal digits")),
    _string(),
]
Username = _pattern_type("[A-Za-z0-9._-]{1,32}", "1 to 32 letters, digits, '.', '_' and '-'")
Destination = Annotated[str, _parsed(destination), _string(minLength=1)]
CountryCode = Annotated[str, _parsed(_country), _string(pattern="^[A-Z]{2}$")]
Dialled = _pattern_type(r"\+?[0-9*#]{1,32}", "what people dial: digits, * and #, with or without a leading +")
Expected = Annotated[str, _parsed(_expected), _string(pattern=r"^(\+[1-9][0-9]{1,14}|none|emergency)$")]
Digits = _pattern_type("[0-9]{1,8}", "digits only")
Extensions = _pattern_type(
    "[0-9]{1,20}(?:-[0-9]{1,20})?(?:;[0-9]{1,20}(?:-[0-9]{1,20})?)*",
    "extensions or ranges of them, joined by semicolons: 100-200;305",
)
Prefixes = _pattern_type(
    r"(?=.{1,64}$)(?:\+|\+?[0-9]+)(?:;(?:\+|\+?[0-9]+))*",
    "prefixes of digits (with or without +), joined by semicolons, at most 64 characters, such as 00;123",
)
Lengths = _pattern_type("[0-9]{1,2}(?:;[0-9]{1,2})*", "numbers of digits, joined by semicolons: 8;10;12")
Prepend = _pattern_type(r"\+?[0-9]{0,15}", "digits, with or without a leading +")
Regex = Annotated[str, _parsed(_regex), _string(format="regex", minLength=1)]
