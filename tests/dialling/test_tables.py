"""The tables of dialled strings are sound: each line agrees with `phonenumbers` and with its columns."""

from __future__ import annotations

import re

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from .tables import COUNTRIES, Dialled, Table, read

TABLES = [read(country) for country in COUNTRIES]
LINES = [
    pytest.param(table, line, id=f"{table.country}-{line.dialled}")
    for table in TABLES
    for line in table.lines
]
KINDS = {"fixed", "local", "mobile", "tollfree", "abroad", "service", "emergency", "extension", "feature"}
#: Kinds that the number plan data can recognise.
_TYPES = {
    "fixed": {PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE, PhoneNumberType.VOIP},
    "mobile": {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE},
    "tollfree": {PhoneNumberType.TOLL_FREE},
}
#: Where Twilio's trunks reach an emergency service.
#: Source: twilio.com/docs/sip-trunking/emergency-calling, 2026-03-09
EMERGENCY_SERVICE = {"US", "CA", "GB", "AU", "IE", "FR", "DE", "AT"}


def test_every_country_has_a_table_of_twenty_lines_or_more() -> None:
    assert " ".join(COUNTRIES) == "AE AU BR CA CH DE FR GB IN IT JP MX NZ SG US ZA"
    for table in TABLES:
        assert len(table.lines) >= 20, table.country
        assert len({line.dialled for line in table.lines}) == len(table.lines), table.country
        assert {line.kind for line in table.lines} == KINDS - ({"local"} if table.country == "SG" else set())


@pytest.mark.parametrize(("table", "line"), LINES)
def test_a_line_is_well_formed(table: Table, line: Dialled) -> None:
    assert line.kind in KINDS
    assert re.fullmatch(r"\+?[0-9]+|[*#][0-9*#]+", line.dialled)
    assert re.fullmatch(r"\+[1-9][0-9]{6,14}|none|emergency", line.expected)
    assert re.fullmatch(r"https?://\S+", line.source)
    if line.kind in {"extension", "feature"}:
        assert line.expected == "none"


@pytest.mark.parametrize(("table", "line"), LINES)
def test_a_number_exists_and_is_of_its_kind(table: Table, line: Dialled) -> None:
    if not line.expected.startswith("+"):
        return
    number = phonenumbers.parse(line.expected)
    assert phonenumbers.is_valid_number(number)
    assert phonenumbers.number_type(number) in _TYPES.get(line.kind, {phonenumbers.number_type(number)})
    at_home = phonenumbers.is_valid_number_for_region(number, table.country)
    # Toll-free and premium numbers belong to all of North America.
    home_code = phonenumbers.country_code_for_region(table.country)
    assert at_home or line.kind == "abroad" or (home_code == number.country_code == 1)
    assert not (at_home and line.kind == "abroad")


@pytest.mark.parametrize(("table", "line"), LINES)
def test_the_number_plan_data_reads_a_dialled_string_the_same_way(table: Table, line: Dialled) -> None:
    """A string that leads nowhere reads as no number; what cannot be decided by its shape is left out."""
    if line.ambiguous:
        return
    area_code = table.area_code if line.kind == "local" else ""
    if line.expected.startswith("+"):
        number = phonenumbers.parse(area_code + line.dialled, table.country)
        assert phonenumbers.format_number(number, PhoneNumberFormat.E164) == line.expected
    elif not line.dialled.startswith(("*", "#")):
        try:
            number = phonenumbers.parse(line.dialled, table.country)
        except phonenumbers.NumberParseException:
            return
        assert not phonenumbers.is_valid_number(number)


@pytest.mark.parametrize(("table", "line"), LINES)
def test_emergency_numbers_are_those_of_the_country(table: Table, line: Dialled) -> None:
    if line.ambiguous:
        return
    is_emergency = phonenumbers.is_emergency_number(line.dialled, table.country)
    assert is_emergency == (line.kind == "emergency")
    assert (line.expected == "emergency") == (is_emergency and table.country in EMERGENCY_SERVICE)
