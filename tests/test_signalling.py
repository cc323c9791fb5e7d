"""The associated addresses of a PBX trunk: compared by what they mean, added to, and kept."""

from __future__ import annotations

import pytest

from runbook_lib.signalling import PUBLISHED, Associated

ALL = ";".join(PUBLISHED.values())
HALVES = ALL.replace("54.172.60.0/30", "54.172.60.0/31;54.172.60.2/31")


@pytest.mark.parametrize(
    "live",
    [
        ALL,
        ";".join(reversed(ALL.split(";"))),
        ALL + ";54.172.60.0/30",
        ALL + ";54.172.60.1",
        ALL + "; 54.172.60.2/31 ;",
        ALL.replace("54.172.60.0/30", "54.172.60.3/30"),
        ALL.replace("54.172.60.0/30", "54.172.60.0/255.255.255.252"),
        HALVES,
    ],
)
def test_the_same_addresses_written_in_another_way_are_the_same(live: str) -> None:
    found = Associated(live)
    assert (found.desired, found.further, found.wide) == (live, (), ())


@pytest.mark.parametrize(
    "further", ["198.51.100.0/30", "198.51.100.7", "54.172.60.0/29", "2001:db8::/64", "sip.twilio.example"]
)
def test_what_is_there_beside_is_kept_as_it_is_written(further: str) -> None:
    found = Associated(f"{ALL};{further}")
    assert (found.desired, found.kept, found.removed) == (found.live, (further,), ())
    lacking = Associated(f"54.172.60.0/30;{further};{further}")
    assert lacking.desired == f"{ALL};{further}"


def test_a_site_adds_ranges_once() -> None:
    found = Associated(ALL, ("203.0.113.0/24", "203.0.113.128/25", "54.172.60.0/31"))
    assert found.desired == f"{ALL};203.0.113.0/24"
    assert Associated(found.desired, found.additional).desired == found.desired
    assert Associated(found.desired, found.additional).kept == ()
    assert Associated("", ("203.0.113.7/32",)).desired == f"{ALL};203.0.113.7/32"


@pytest.mark.parametrize(
    ("live", "remove", "left"),
    [
        ("198.51.100.0/30", "198.51.100.0/30", ""),
        ("198.51.100.0/30;203.0.113.7", "198.51.100.0/24", ";203.0.113.7"),
        ("203.0.113.7", "203.0.113.7/32", ""),
        ("54.172.0.0/16", "54.172.0.0/16", ""),  # Twilio's own /30 inside of it stays
        ("198.51.100.0/31;198.51.100.2/31", "198.51.100.0/30", ""),
    ],
)
def test_what_is_named_is_taken_off(live: str, remove: str, left: str) -> None:
    found = Associated(f"{ALL};{live}", remove=(remove,))
    assert found.desired == ALL + left and found.removed
    assert Associated(found.desired, remove=(remove,)).desired == found.desired


def test_a_part_of_a_range_cannot_be_taken_off() -> None:
    found = Associated(f"{ALL};198.51.100.0/24", remove=("198.51.100.0/30",))
    assert (found.in_part, found.removed) == (("198.51.100.0/24",), ())


@pytest.mark.parametrize(
    ("live", "wide"),
    [
        ("198.51.100.0/24", ()),
        ("198.51.0.0/16", ("198.51.0.0/16",)),
        ("198.51.100.0/24;198.51.101.0/24", ("198.51.100.0/23",)),  # together
        ("0.0.0.0/0", ("0.0.0.0/0",)),
        ("2001:db8::/32", ("2001:db8::/32",)),
        ("2001:db8::/64;no range", ()),
    ],
)
def test_wide_ranges_are_found(live: str, wide: tuple[str, ...]) -> None:
    assert Associated(f"{ALL};{live}").wide == wide
    assert Associated(ALL, ("203.0.112.0/23",)).wide == ("203.0.112.0/23",)
