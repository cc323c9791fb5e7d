"""Whether digits can be a telephone number, and how to correct those that cannot; by ``phonenumbers``."""

from __future__ import annotations

from functools import lru_cache

import phonenumbers


@lru_cache(maxsize=4096)
def check_number(digits: str) -> None:
    """Raise ``ValueError`` if these digits, country code first, cannot be a telephone number."""
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        number = None
    # "Possible" must apply to whole numbers: is_possible_number also accepts a local number.
    possible = phonenumbers.ValidationResult.IS_POSSIBLE
    if number is None or phonenumbers.is_possible_number_with_reason(number) != possible:
        reason = way_out(digits) or "wrong country code or length"
        raise ValueError(f"{digits} cannot be a telephone number: {reason}")
    code = str(number.country_code)
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if written != f"+{digits}" and digits[len(code)] == "0":
        reason = way_out(digits) or f"omit the national 0 after the country code {code}"
        raise ValueError(f"{digits} cannot be a telephone number: {reason}")


def way_out(digits: str) -> str:
    """Return the probable correction of an impossible number; empty if it is possible or nothing is close.

    A number can have a possible length and still be impossible: in Italy without its 0. Three mistakes
    are known: the national prefix kept, Mexico's old 1 kept (abolished in 2019; Twilio, guidelines for
    Mexico), Italy's 0 omitted.
    """
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return ""
    code = str(number.country_code)
    rest, region = digits[len(code) :], phonenumbers.region_code_for_country_code(int(code))
    if phonenumbers.is_valid_number(number) and rest == phonenumbers.national_significant_number(number):
        return ""
    prefix = phonenumbers.ndd_prefix_for_region(region, True) or ""
    slips = [(prefix, "", f"omit the national {prefix} after the country code {code}")]
    if region == "MX":
        slips.append(("1", "", "in Mexico, the 1 after the country code 52 is no longer used"))
    if region == "IT":
        slips.append(("", "0", "Italian fixed-line numbers keep their 0"))
    for dropped, added, why in slips:
        meant = code + added + rest.removeprefix(dropped)
        if rest.startswith(dropped) and meant != digits and _is_valid(meant):
            return f"{why}: {meant}"
    return ""


def _is_valid(digits: str) -> bool:
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return False
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return phonenumbers.is_valid_number(number) and written == f"+{digits}"
