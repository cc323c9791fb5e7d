"""What kind of number it is, and whether Twilio accepts it on a trunk, by the library ``phonenumbers``."""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType, ValidationResult

from ..possible_numbers import way_out
from .countries import country_of

_TYPES = {
    PhoneNumberType.FIXED_LINE: "fixed",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed or mobile",
    PhoneNumberType.TOLL_FREE: "toll-free",
    PhoneNumberType.PREMIUM_RATE: "premium rate",
    PhoneNumberType.SHARED_COST: "shared cost",
    PhoneNumberType.VOIP: "internet telephone",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.UAN: "company",
}
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)


@lru_cache(maxsize=4096)
def kind(dialled: str, sent: str | None, country: str | None) -> str:
    """Return what kind of number was dialled, in a word or two."""
    if dialled in country_of(country).emergency:
        return "emergency"
    if dialled[:1] in ("*", "#"):
        return "feature code"
    for text, region in ((sent or "", None), (dialled, country)):
        number = _parsed(text, region)
        if number is not None and phonenumbers.is_valid_number(number):
            word = _TYPES.get(phonenumbers.number_type(number), "other")
            home = phonenumbers.region_code_for_number(number)
            return word if country is None or home == country else f"{word}, abroad ({home or 'no country'})"
    return "short number" if len(dialled) < 7 else "not in any numbering plan"


@lru_cache(maxsize=4096)
def refusal(sent: str) -> str:
    """Return why Twilio does not accept a called number on a trunk; empty if it is +E.164."""
    if re.fullmatch(r"1?[2-9]\d{9}", sent, re.ASCII):
        return "not +E.164 (PortSIP's guide shows it as working; Twilio documents +E.164 only)"
    if not sent.startswith("+"):
        return "not +E.164, which Twilio refuses (400, 32101)"
    if re.match(r"\+0", sent):
        return "an international prefix remains after the +, which Twilio refuses (400, 32101)"
    number = _parsed(sent, None)
    if not _E164.fullmatch(sent) or number is None:
        return "not a telephone number of any country"
    if has_national_zero(sent):
        return f"the national 0 remains after the country code {number.country_code}"
    if phonenumbers.format_number(number, PhoneNumberFormat.E164) != sent:
        # The library drops them, which makes the number look valid; Twilio documents no such leniency.
        dialled_at_home = f"digits dialled within the country remain after the code {number.country_code}"
        return way_out(sent.removeprefix("+")) or dialled_at_home
    if phonenumbers.is_possible_number_with_reason(number) is not ValidationResult.IS_POSSIBLE:
        return f"too short or too long for the country code {number.country_code}"
    return ""


def emergency_accepted(dialled: str, sent: str, country: str | None, *, ours: bool) -> tuple[bool, str]:
    """Return whether an emergency number leaves as one, and why not."""
    facts = country_of(country)
    as_dialled, with_code = sent == dialled, sent == f"+{facts.code}{dialled}"
    if not as_dialled and not with_code:
        return False, f"the emergency number {dialled} would become another number"
    if not ours:
        return True, ""
    if not facts.emergency_service:
        return False, f"Twilio's trunks have no emergency service in {facts.region}"
    if as_dialled and len(dialled) < 3:
        return False, f"Twilio needs the country code before two digits (+{facts.code}{dialled})"
    return True, ""


@lru_cache(maxsize=4096)
def has_national_zero(sent: str) -> bool:
    """Return whether a national 0 remains after the country code; in Italy it belongs there."""
    number = _parsed(sent, None)
    if number is None:
        return False
    digits = sent[1 + len(str(number.country_code)) :]
    return digits.startswith("0") and not number.italian_leading_zero


@lru_cache(maxsize=4096)
def has_code_of(sent: str, front: str) -> bool:
    """Return whether the front of a number (+E.164), without the rest, shows its whole country code."""
    number = _parsed(sent, None)
    return number is not None and front.startswith(f"+{number.country_code}")


@lru_cache(maxsize=4096)
def doubt(sent: str) -> str:
    """Return what is doubtful about a possible number (+E.164): it is not in its country's plan."""
    if is_valid(sent):
        return ""
    return way_out(sent.removeprefix("+")) or "possible, but not in its country's number plan"


@lru_cache(maxsize=4096)
def is_valid(sent: str) -> bool:
    """Return whether a number (+E.164) is in its country's plan."""
    number = _parsed(sent, None)
    return number is not None and phonenumbers.is_valid_number(number)


@lru_cache(maxsize=4096)
def is_toll_free(sent: str) -> bool:
    """Return whether calls to a number (+E.164) are free for the caller."""
    number = _parsed(sent, None)
    return number is not None and phonenumbers.number_type(number) == PhoneNumberType.TOLL_FREE


@lru_cache(maxsize=4096)
def region_of(sent: str) -> str | None:
    """Return the country (ISO 3166) of a number (+E.164), where it has one."""
    number = _parsed(sent, None)
    return phonenumbers.region_code_for_number(number) if number is not None else None


def _parsed(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region) if text else None
    except NumberParseException:
        return None
