"""How people dial in a country: what ``phonenumbers`` knows, and one table of what it lacks.

The library has country codes, national prefixes, lengths and emergency numbers of all countries. ``LINES``
has the rest, one fact a line with its source and date; nothing else in the package holds such facts. What
Twilio's trunks accept is as its pages say; how people dial is general knowledge until a line has a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberType

#: Types of numbers that are dialled with the national prefix, where the country has one.
_DIALLED = ("fixed_line", "mobile", "toll_free", "shared_cost", "voip", "uan", "personal_number")


class CountryFact(NamedTuple):
    """One fact: of which country, what it is about, the document to compare it with, and its date.

    The date is ``NOT_CHECKED`` if nobody has compared the line with the document yet.
    """

    region: str
    about: str
    value: Any
    source: str
    date: str


class Direct(NamedTuple):
    """Numbers that are dialled in full without a national prefix: how they begin, and how many digits."""

    prefixes: tuple[str, ...]
    lengths: tuple[int, ...]


NOT_CHECKED = "not checked"
_EMERGENCY_ON_TRUNKS = "twilio.com/docs/sip-trunking/emergency-calling"
_ITU = "ITU Operational Bulletin 994, Dialling procedures"
_ACMA = "Australia, Telecommunications Numbering Plan"
_NANPA = "nationalnanpa.com, dialing plans"
_EVERY_DIGIT = tuple("123456789")

#: What phonenumbers lacks. ``about`` is one of:
#: ``service`` (Twilio's trunks take emergency calls there), ``international`` (prefixes in use, where
#: there are several), ``carrier digits`` (of a carrier code after the prefix), ``direct`` (see ``Direct``),
#: ``local digits`` (lowest and highest number of digits, area code included, of numbers that are dialled
#: without it), ``local`` (how those begin; empty where nobody can dial so), ``national`` (how numbers after
#: the national prefix begin, where not each one is a number), ``emergency`` (beside the library's).
LINES: tuple[CountryFact, ...] = (
    *(
        CountryFact(region, "service", True, _EMERGENCY_ON_TRUNKS, "2026-03-09")
        for region in ("US", "CA", "GB", "AU", "IE", "FR", "DE", "AT")
    ),
    CountryFact("US", "emergency", ("933",), _EMERGENCY_ON_TRUNKS, "2026-03-09"),
    CountryFact("JP", "emergency", ("118",), "Japan Coast Guard, 118", NOT_CHECKED),
    CountryFact("ZA", "emergency", ("10111",), "South African Police Service, 10111", NOT_CHECKED),
    CountryFact(
        "SG",
        "international",
        ("001", "002", "008", "018", "019"),
        "Singapore, National Numbering Plan",
        NOT_CHECKED,
    ),
    CountryFact("BR", "international", ("00",), _ITU, NOT_CHECKED),
    CountryFact("BR", "carrier digits", 2, "Anatel, Código de Seleção de Prestadora", NOT_CHECKED),
    CountryFact("MX", "international", ("00",), "IFT, Plan Técnico Fundamental de Numeración", NOT_CHECKED),
    CountryFact("AU", "direct", Direct(("13",), (6,)), _ACMA, NOT_CHECKED),
    CountryFact("AU", "direct", Direct(("1300", "1800"), (10,)), _ACMA, NOT_CHECKED),
    CountryFact("AU", "direct", Direct(("180",), (7,)), _ACMA, NOT_CHECKED),
    CountryFact(
        "IN",
        "direct",
        Direct(("1800", "1860"), (10, 11, 12, 13)),
        "India, National Numbering Plan",
        NOT_CHECKED,
    ),
    CountryFact(
        "IN", "direct", Direct(("6", "7", "8", "9"), (10,)), "India, National Numbering Plan", NOT_CHECKED
    ),
    CountryFact(
        "AE",
        "direct",
        Direct(("800",), (5, 6, 7, 8, 9, 10, 11, 12)),
        "TDRA, National Numbering Plan",
        NOT_CHECKED,
    ),
    CountryFact("AE", "direct", Direct(("600",), (9,)), "TDRA, National Numbering Plan", NOT_CHECKED),
    CountryFact(
        "SG", "direct", Direct(("3", "6", "8", "9"), (8,)), "Singapore, National Numbering Plan", NOT_CHECKED
    ),
    CountryFact("SG", "direct", Direct(("800",), (10,)), "Singapore, National Numbering Plan", NOT_CHECKED),
    CountryFact("SG", "direct", Direct(("1800",), (11,)), "Singapore, National Numbering Plan", NOT_CHECKED),
    CountryFact(
        "IT",
        "direct",
        Direct(("0",), (6, 7, 8, 9, 10, 11)),
        "Italy, Piano nazionale di numerazione",
        NOT_CHECKED,
    ),
    CountryFact(
        "IT", "direct", Direct(("3",), (9, 10)), "Italy, Piano nazionale di numerazione", NOT_CHECKED
    ),
    CountryFact(
        "IT",
        "direct",
        Direct(("800", "84", "55"), (9, 10)),
        "Italy, Piano nazionale di numerazione",
        NOT_CHECKED,
    ),
    CountryFact("IT", "direct", Direct(("803",), (6,)), "Italy, Piano nazionale di numerazione", NOT_CHECKED),
    CountryFact(
        "MX",
        "direct",
        Direct(_EVERY_DIGIT[1:], (10,)),
        "IFT, Plan Técnico Fundamental de Numeración",
        NOT_CHECKED,
    ),
    CountryFact("US", "direct", Direct(_EVERY_DIGIT[1:], (10,)), _NANPA, NOT_CHECKED),
    CountryFact("CA", "direct", Direct(_EVERY_DIGIT[1:], (10,)), _NANPA, NOT_CHECKED),
    CountryFact(
        "DE", "local digits", (5, 11), "Bundesnetzagentur, Nummernplan Ortsnetzrufnummern", NOT_CHECKED
    ),
    CountryFact("AT", "local digits", (5, 12), "Austria, KEM-V 2009", NOT_CHECKED),
    CountryFact("BR", "local digits", (10, 11), "Anatel, Resolução 749", NOT_CHECKED),
    # 010xy chooses a carrier: what follows is another number.
    CountryFact(
        "DE",
        "national",
        tuple("2345678") + tuple(f"1{digit}" for digit in "356789") + ("9",),
        "Bundesnetzagentur, Nummernraum",
        NOT_CHECKED,
    ),
    *(
        CountryFact(region, "local", "", _ITU, NOT_CHECKED)
        for region in ("FR", "CH", "IT", "SG", "MX", "ZA", "ES", "PT", "BE", "DK", "NO", "PL", "CZ")
    ),
)


@dataclass(frozen=True)
class Country:
    """How people dial in one country; without a region, nothing is known.

    ``lengths`` are the digits after the national prefix, ``begins`` how they begin; ``local_total`` the
    digits of numbers that are dialled without area code, with it; ``local_begins`` is empty where nobody
    dials so.
    """

    region: str = ""
    code: str = ""
    international: tuple[str, ...] = ()
    carrier_digits: int = 0
    national_prefix: str = ""
    lengths: tuple[int, ...] = ()
    begins: tuple[str, ...] = ("",)
    direct: tuple[Direct, ...] = ()
    local_begins: str = ""
    local_total: tuple[int, ...] = ()
    emergency: tuple[str, ...] = ()
    emergency_service: bool = False


@lru_cache(maxsize=512)
def country_of(region: str | None) -> Country:
    """Return what is known of a country (ISO 3166); empty for ``None`` and for anything else."""
    metadata = PhoneMetadata.metadata_for_region(region, None) if region else None
    if metadata is None:
        return Country(region or "")
    lines: dict[str, list[Any]] = {}
    for line in LINES:
        if line.region == region:
            lines.setdefault(line.about, []).append(line.value)
    prefix, direct = metadata.national_prefix or "", tuple(lines.get("direct", ()))
    low, high = lines.get("local digits", [(0, 0)])[0]
    fixed_or_mobile = {*_lengths(metadata, "fixed_line"), *_lengths(metadata, "mobile")}
    every = {length for kind in _DIALLED for length in _lengths(metadata, kind)}
    # Longer ones cannot be E.164 with the country code; five digits and less are services.
    usable = {length for length in every if 6 <= length <= 15 - len(str(metadata.country_code))}
    return Country(
        region=str(region),
        code=str(metadata.country_code),
        international=lines["international"][0] if "international" in lines else _international(metadata),
        carrier_digits=lines.get("carrier digits", [0])[0],
        national_prefix=prefix,
        lengths=tuple(sorted((usable & fixed_or_mobile) if direct else usable)) if prefix else (),
        begins=lines.get("national", [("",)])[0],
        direct=direct,
        local_begins=lines.get("local", ["23456789"])[0],
        local_total=tuple(range(low, high + 1)) if high else _lengths(metadata, "fixed_line")[-1:],
        emergency=tuple(sorted({*_emergency(str(region)), *lines.get("emergency", [()])[0]})),
        emergency_service=bool(lines.get("service")),
    )


@lru_cache(maxsize=512)
def example(region: str, kind: str) -> str | None:
    """Return an example number (+E.164) of a kind: ``fixed``, ``mobile`` or ``toll-free``."""
    types = {
        "fixed": PhoneNumberType.FIXED_LINE,
        "mobile": PhoneNumberType.MOBILE,
        "toll-free": PhoneNumberType.TOLL_FREE,
    }
    number = phonenumbers.example_number_for_type(region, types[kind])
    if number is None:
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def is_country(region: str) -> bool:
    """Return whether a text is the ISO 3166 code of a country that has telephone numbers."""
    return region in phonenumbers.SUPPORTED_REGIONS


def _lengths(metadata: Any, kind: str) -> tuple[int, ...]:
    found = getattr(metadata, kind)
    return () if found is None else tuple(length for length in found.possible_length if length > 0)


def _international(metadata: Any) -> tuple[str, ...]:
    prefix = metadata.preferred_international_prefix or metadata.international_prefix or ""
    return (prefix,) if re.fullmatch(r"\d+", prefix, re.ASCII) else ()


def _emergency(region: str) -> set[str]:
    """The emergency numbers of two and three digits that the library has."""
    metadata = PhoneMetadata.short_metadata_for_region(region)
    pattern = metadata.emergency.national_number_pattern if metadata and metadata.emergency else None
    if not pattern:
        return set()
    tries = [*(f"{number:02}" for number in range(100)), *(f"{number:03}" for number in range(1000))]
    return {number for number in tries if re.fullmatch(pattern, number)}
