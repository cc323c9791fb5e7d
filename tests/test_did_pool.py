"""The DID pool grammar: what is read, what is written, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_lib.did_pool import DidPool, e164
from runbook_lib.possible_numbers import way_out

#: Numbers of the North American plan are possible at ten digits behind the 1.
NUMBERS = st.integers(12_025_550_000, 12_025_559_999)


@pytest.mark.parametrize(
    "text",
    [  # the guide's own four examples
        "12027594810",
        "12027594810;12027594815",
        "12027594810-12027594815;12027594820",
        "12027594810-12027594815;12027594830-12027594845",
    ],
)
def test_the_guides_examples_are_kept_as_written(text: str) -> None:
    assert str(DidPool.parse(text)) == text


@given(st.sets(NUMBERS, min_size=1, max_size=60))
def test_numbers_survive_being_written_and_read(numbers: set[int]) -> None:
    pool = DidPool.of(f"+{number}" for number in numbers)
    again = DidPool.parse(str(pool))
    assert again == pool
    assert list(again) == [f"+{number}" for number in sorted(numbers)]
    assert len(again) == len(numbers)
    assert " " not in str(pool) and "+" not in str(pool)


@given(st.sets(NUMBERS, min_size=1, max_size=30), st.sets(NUMBERS, min_size=1, max_size=30))
def test_pools_behave_as_sets(one: set[int], other: set[int]) -> None:
    first, second = (DidPool.of(str(number) for number in numbers) for numbers in (one, other))
    assert first.overlap(second) == [f"+{number}" for number in sorted(one & other)]
    assert list(first.union(second)) == [f"+{number}" for number in sorted(one | other)]
    assert (first == second) == (one == other)
    assert all(f"+{n}" in first and str(n) in first for n in one)
    assert not any(f"+{n}" in first for n in other - one)


def test_written_otherwise_is_the_same_pool() -> None:
    pool = DidPool.parse("12025550101; 12025550102 ;12025550103")
    assert pool == DidPool.parse("12025550101-12025550103")
    assert str(pool) == "12025550101;12025550102;12025550103"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (";", "empty"),
        ("12025550101;", "empty"),
        ("12025550101;;12025550102", "empty"),
        ("+12025550101", r"leading \+"),
        ("012025550101", "leading 0"),
        ("0012025550101", "leading 0"),
        ("12025550105-12025550101", "reversed"),
        ("12025550101-2025550105", "same number of digits"),
        ("12025550101-", "neither"),
        ("-12025550101", "neither"),
        ("12025550101-12025550105-12025550109", "neither"),
        ("12025550101,12025550102", "neither"),
        ("12025550101/12025550102", "neither"),
        ("1202555010a", "neither"),
        ("١٢٠٢٥٥٥٠١٠١", "neither"),
        ("12025550101-12025550105;12025550103", "overlap"),
        ("12025550101;12025550101", "overlap"),
        ("1234567890123456", "15 digits"),
        ("12", "cannot be a telephone number"),
        ("120255501", "cannot be a telephone number"),
        ("12025550000-12125550000", "at most 10,000"),
    ],
)
def test_malformed_pools_say_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DidPool.parse(text)


@pytest.mark.parametrize(
    "text", ["12025550101", "+1 202 555 0101", "+0202555010", "+1", "+1202555010112345678", "x"]
)
def test_not_e164(text: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164|telephone number"):
        e164(text)


def test_e164() -> None:
    assert e164("+12027594810") == "+12027594810"


@given(st.sets(NUMBERS, min_size=1, max_size=30))
def test_the_canonical_text_is_the_shortest_and_the_same_for_equal_pools(numbers: set[int]) -> None:
    one_by_one = DidPool.parse(";".join(str(number) for number in sorted(numbers, reverse=True)))
    assert one_by_one.canonical == str(DidPool.of(one_by_one))
    assert hash(one_by_one) == hash(DidPool.parse(one_by_one.canonical))
    assert len(one_by_one.canonical) <= len(str(one_by_one))


@given(st.text(alphabet="0123456789-; +a\n", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        pool = DidPool.parse(text)
    except ValueError:
        return
    assert DidPool.parse(str(pool)) == pool == DidPool.of(pool)


@pytest.mark.parametrize(
    "text",
    [
        "12025550",  # a local number behind the country code
        "4402079460000",  # the national 0 kept
        "493012 493013",  # a semicolon forgotten: never one number of 12 digits
        "1202 5550101",
        "12025550101-12025550104 12025550109",
    ],
)
def test_numbers_that_only_look_like_some(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be|national 0|neither"):
        DidPool.parse(text)


def test_spaces_and_line_breaks_around_entries() -> None:
    assert (
        str(DidPool.parse(" 12025550101 - 12025550104 ;\n12025550109\n"))
        == "12025550101-12025550104;12025550109"
    )


def test_a_slip_of_the_finger_is_refused_at_once() -> None:
    for text in ("100000000000000-999999999999999", "1" * 5000, "9" * 4000 + "-" + "9" * 4000):
        with pytest.raises(ValueError, match=r"at most|15 digits") as caught:
            DidPool.parse(text)
        assert len(str(caught.value)) < 200


def test_what_a_pbx_answers_is_read_as_it_is() -> None:
    pool = DidPool.read("101; 203; 300-450;12025550101-12025550199;12025550150")
    assert len(pool) == 1 + 1 + 151 + 99
    assert pool.overlap(DidPool.parse("12025550198-12025550201")) == ["+12025550198", "+12025550199"]
    assert len(DidPool.read("100000000000000-999999999999999")) == 900_000_000_000_000


def test_numbers_of_different_lengths_are_not_joined() -> None:
    pool = DidPool.read("99-99;100-101")
    assert str(DidPool.of(pool)) == "99;100-101"


def test_a_message_repeats_numbers_only() -> None:
    with pytest.raises(ValueError, match="an entry: neither") as caught:
        DidPool.parse("12025550101;Canary-Passw0rd")
    assert "anary" not in str(caught.value)


def test_of_takes_numbers_only() -> None:
    for numbers in ([], ["+1 202"], ["x"], ["012"]):
        with pytest.raises(ValueError, match=r"DID pool|neither"):
            DidPool.of(numbers)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5215541628900", "525541628900"),  # Mexico's old 1
        ("4402079460000", "442079460000"),  # the national prefix, kept
        ("4903012345678", "493012345678"),
        ("55011987654321", "5511987654321"),
        ("789161234567", "79161234567"),
        ("112027594810", "12027594810"),
        ("39669812345", "390669812345"),  # Italy's 0, which is no national prefix
    ],
)
def test_a_number_that_is_none_names_the_one_that_is_meant(written: str, meant: str) -> None:
    assert meant in way_out(written)
    assert way_out(meant) == ""
    if written not in ("39669812345", "789161234567", "112027594810"):  # of a possible length, so taken
        with pytest.raises(ValueError, match=meant):
            DidPool.parse(written)
        with pytest.raises(ValueError, match=meant):
            e164(f"+{written}")


@pytest.mark.parametrize("number", ["111", "44999", "493", "80012345678", "390669812345", "39333123456"])
def test_nothing_is_made_up_for_other_numbers(number: str) -> None:
    assert way_out(number) == ""


@pytest.mark.parametrize(
    ("block", "entries"),
    [
        ("493012340-49301234299", "493012340;4930123410-4930123499;49301234100-49301234299"),
        (
            "49301234-49301234299",
            "49301234;493012341-493012349;4930123410-4930123499;49301234100-49301234299",
        ),
        ("4930123410-49301234299", "4930123410-4930123499;49301234100-49301234299"),
        ("4315123450-43151234559", "4315123450;43151234510-43151234559"),
    ],
)
def test_a_block_with_a_base_number_names_its_entries(block: str, entries: str) -> None:
    with pytest.raises(ValueError, match=entries):
        DidPool.parse(block)
    pool = DidPool.parse(entries)
    assert {*block.split("-")} <= {number[1:] for number in pool}


@pytest.mark.parametrize("text", ["12025550101-1202555010", "5-49301234299", "4930123-44207946000"])
def test_what_is_no_block_is_not_made_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"same number of digits$"):
        DidPool.parse(text)
