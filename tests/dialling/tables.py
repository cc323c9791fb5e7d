"""Reads the tables: what people dial in each country, and the cases in PortSIP's own pages.

In a country's table `kind` says what the dialled string is. `expected` says what may leave the PBX: a number
in E.164, `none` if nothing may be sent, or `emergency` if only the emergency call itself may be sent (it need
not be: no emergency rule is made by default). Where Twilio's trunks have no emergency service, an emergency
number is expected to be `none`. `ambiguous` gives the reason why a line cannot be decided by its shape.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
#: The countries that have a table, by their two-letter codes.
COUNTRIES = sorted(file.stem for file in FOLDER.glob("[A-Z][A-Z].csv"))
#: What follows each label of a table's first line.
_HEAD = re.compile(
    r"# area code: (?P<area>.+), international prefix: (?P<abroad>.+), national prefix: (?P<home>.+)"
)


#: An outbound rule with one route, as the PBX keeps it when nothing else is written.
_RULE = {"enabled": True, "priority": 1000, "number_prefix": "", "number_length": "", "number_mask": ""}
_ROUTE = {"enabled": True, "strip_digits": 0, "prepend": ""}
#: A tenant's E.164 processing, enabled, with the PBX's own defaults for the rest.
_E164 = {
    "enabled": True,
    "international_code": "",
    "country": "",
    "area_code": "",
    "national_code": "",
    "prefix": "",
    "remove_special_chars": False,
    "remove_duplicate_countries": True,
    "remove_duplicate_area_codes": True,
}


class Dialled(NamedTuple):
    """A string that somebody dials, and where it may go."""

    dialled: str
    kind: str
    expected: str
    source: str
    ambiguous: str


class Table(NamedTuple):
    """What is dialled in a country; the area code is empty where every number is dialled in full."""

    country: str
    area_code: str
    international_prefix: str
    national_prefix: str
    lines: tuple[Dialled, ...]


def read(country: str) -> Table:
    """Return the table of a country."""
    with (FOLDER / f"{country}.csv").open(encoding="utf-8", newline="") as file:
        head = _HEAD.fullmatch(file.readline().strip())
        if head is None:
            raise ValueError(f"{country}.csv has no first line with area code and prefixes")
        lines = tuple(Dialled(**row) for row in csv.DictReader(file))
    area_code, *_ = re.findall(r"^\d+", head["area"]) or [""]
    return Table(country, area_code, head["abroad"], head["home"], lines)


class Golden(NamedTuple):
    """A case in PortSIP's pages and what may be sent: None if no rule applies, several if any may be."""

    name: str
    rules: tuple[dict[str, Any], ...]
    dialled: str
    caller: str
    caller_groups: tuple[str, ...]
    sent: frozenset[str | None]


def golden() -> list[Golden]:
    """Return the cases in PortSIP's pages; strip and prepend are written beside a rule's conditions."""
    with (FOLDER / "golden.csv").open(encoding="utf-8", newline="") as file:
        return [
            Golden(
                name=row["case"],
                rules=tuple(
                    _complete(rule, number) for number, rule in enumerate(json.loads(row["rules"]), 1)
                ),
                dialled=row["dialled"],
                caller=row["caller"],
                caller_groups=tuple(row["caller_groups"].split()),
                sent=frozenset(None if number == "none" else number for number in row["sent"].split("|")),
            )
            for row in csv.DictReader(file)
        ]


class GoldenE164(NamedTuple):
    """A case in PortSIP's page on E.164 processing, and what the outbound rules see afterwards."""

    name: str
    settings: dict[str, Any]
    dialled: str
    becomes: str


def golden_e164() -> list[GoldenE164]:
    """Return the cases in PortSIP's page on E.164 processing."""
    with (FOLDER / "golden_e164.csv").open(encoding="utf-8", newline="") as file:
        return [
            GoldenE164(row["case"], _E164 | json.loads(row["settings"]), row["dialled"], row["becomes"])
            for row in csv.DictReader(file)
        ]


def _complete(written: dict[str, Any], number: int) -> dict[str, Any]:
    route = {field: written.get(field, default) for field, default in _ROUTE.items() if field != "enabled"}
    conditions = {
        field: value for field, value in written.items() if field not in _ROUTE or field == "enabled"
    }
    fixed = {"name": f"Rule {number}", "routing_strategy": "PRIORITIZED", "routes": [_ROUTE | route]}
    return _RULE | fixed | conditions
