"""The outbound rules that ``tenant.dialling`` creates: one for each way in which people dial.

The rules differ in prefix and length; if one number can match two of them, priority decides: emergency
numbers first, then the longer prefix before the shorter one that it begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .countries import Country, Direct

STYLES = ("plus", "international", "national", "local")
#: Of the first rule; own rules have 1000 by default.
FIRST_PRIORITY = 100
#: What the PBX takes in one condition.
LONGEST_CONDITION = 64


@dataclass(frozen=True)
class Wanted:
    """``tenant.dialling`` as values."""

    styles: tuple[str, ...]
    emergency: tuple[str, ...] = ()
    area_code: str | None = None
    international_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PresetRule:
    """One rule: its name after the country, its conditions, and what it does to the number."""

    name: str
    prefixes: tuple[str, ...]
    lengths: tuple[int, ...] = ()
    strip: int = 0
    prepend: str = ""
    priority: int = FIRST_PRIORITY


@lru_cache(maxsize=512)
def preset_rules(country: Country, wanted: Wanted) -> tuple[PresetRule, ...]:
    """Return the rules of a country's ways of dialling, in the order in which they are to be tried."""
    found = [
        PresetRule(f"Twilio {country.region} {name}", prefixes, lengths, strip, prepend)
        for name, prefixes, lengths, strip, prepend in _rules(country, wanted)
    ]
    return tuple(
        PresetRule(rule.name, rule.prefixes, rule.lengths, rule.strip, rule.prepend, FIRST_PRIORITY + index)
        for index, rule in enumerate(found)
    )


def problems(country: Country, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the ways of dialling that are wanted, as (key, what to do)."""
    for number in wanted.emergency:
        if not country.emergency_service:
            yield (
                "emergency",
                f"Twilio's trunks have no emergency service in {country.region}: write [] and let the PBX"
                f" send {number} another way (twilio.com/docs/sip-trunking/emergency-calling)",
            )
        elif number not in country.emergency:
            known = ", ".join(country.emergency)
            yield "emergency", f"{number} is not an emergency number in {country.region}; there: {known}"
    if "international" in wanted.styles and not _international(country, wanted):
        yield (
            "international_prefixes",
            (f"is missing: {country.region} has more than one, or none that is known"),
        )
    if "local" in wanted.styles:
        if not country.local_begins:
            yield "styles", f"local: in {country.region} all calls need the area code"
        elif wanted.area_code is None:
            yield "area_code", "is missing: local calls need it"
    area, prefix = wanted.area_code, country.national_prefix
    if area and prefix and area.startswith(prefix):
        yield (
            "area_code",
            (f"write it without the {prefix} that is dialled in front of it within {country.region}"),
        )


def _rules(
    country: Country, wanted: Wanted
) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...], int, str]]:
    code = f"+{country.code}"
    # Twilio takes two digits only with the country code.
    for numbers, prepend, name in (
        ([one for one in wanted.emergency if len(one) > 2], "", "emergency"),
        ([one for one in wanted.emergency if len(one) <= 2], code, "emergency, two digits"),
    ):
        if numbers:
            yield name, tuple(numbers), tuple(sorted({*map(len, numbers)})), 0, prepend
    if "plus" in wanted.styles:
        # Not a lone +: PBXs before 22.3.22 do not match it.
        yield "plus", tuple(f"+{digit}" for digit in "123456789"), (), 0, ""
    if "international" in wanted.styles:
        prefixes = _international(country, wanted)
        carrier = 0 if wanted.international_prefixes else country.carrier_digits
        for length in sorted({*map(len, prefixes)}, reverse=True):
            same = tuple(one for one in prefixes if len(one) == length)
            name = "international" if length == max(map(len, prefixes)) else f"international, {length} digits"
            yield name, same, (), length + carrier, "+"
    if "national" in wanted.styles:
        yield from _national(country, code)
    if "local" in wanted.styles and wanted.area_code:
        lengths = tuple(
            total - len(wanted.area_code)
            for total in country.local_total
            if total - len(wanted.area_code) >= 4
        )
        yield "local", tuple(country.local_begins), lengths, 0, code + wanted.area_code


def _national(
    country: Country, code: str
) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...], int, str]]:
    # The longer the prefix, the earlier: 1800 is not one of the local numbers that begin with 1.
    ordered = sorted(country.direct, key=lambda direct: -max(map(len, direct.prefixes)))
    for index, direct in enumerate(ordered):
        name = "national" if not country.national_prefix and index == len(ordered) - 1 else _named(direct)
        yield name, direct.prefixes, direct.lengths, 0, code
    prefix = country.national_prefix
    if not prefix:
        return
    if country.carrier_digits:
        with_carrier = tuple(
            len(prefix) + country.carrier_digits + one for one in country.lengths if one >= 10
        )
        strip = len(prefix) + country.carrier_digits
        yield "national, with carrier", (prefix,), with_carrier, strip, code
    begins = tuple(prefix + one for one in country.begins)
    yield "national", begins, tuple(len(prefix) + one for one in country.lengths), len(prefix), code


def _named(direct: Direct) -> str:
    shown = ", ".join(direct.prefixes) if len(direct.prefixes) < 4 else f"{min(direct.lengths)} digits"
    return f"national {shown}"


def _international(country: Country, wanted: Wanted) -> Sequence[str]:
    return wanted.international_prefixes or country.international
