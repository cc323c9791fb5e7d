"""What checking a site's parameter files costs, and what the dial plan adds to it.

::

    make bench BENCH='--rounds 1'          one round instead of three
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from hashlib import sha256
from io import StringIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from runbook_lib.cli.dial import show_calls
from runbook_lib.cli.running import dial_cautions
from runbook_lib.dialling.evaluator import DialPlan, Route, Rule
from runbook_lib.dialling.judgement import cautions
from runbook_lib.dialling.ties import ties
from runbook_lib.parameters import load_all, secret_cautions
from tests.conftest import CHECKOUT

TENANTS, DIDS_EACH = 1000, 100
DIALLED = (
    "030123456",
    "23125000",
    "00442079460000",
    "+442079460000",
    "112",
    "110",
    "115",
    "*97",
    "0171234567",
    "1",
)
SITE = """\
site:
  name: bigtel
  target: sandbox
  twilio_accounts:
    main: {account_sid: AC00000000000000000000000000000000, auth_token: "env:BIGTEL_TWILIO"}
  pbx: {address: 203.0.113.10, username: admin, password: "env:BIGTEL_PBX"}
  policies: {allow_non_public_addresses: true}
"""
TENANT = """\
# yaml-language-server: $schema=../schema.json
tenant:
  name: t{index}
  pbx_domain: t{index}.bigtel.example
  dids: "49302{index:04}00-49302{index:04}99"
  trunk:
    friendly_name: PortSIP t{index}
    termination: bigtel-t{index}
  termination:
    credentials:
      username: bigtel-t{index}
      password: env:BIGTEL_T{index}
  country: DE
  dialling:
    styles: [plus, international, national, local]
    area_code: "30"
    emergency: ["110", "112"]
    caller_id: "+49302{index:04}00"
  rules:
    inbound:
      - {{ name: Twilio Zentrale, dids: "49302{index:04}00", extension: "1000" }}
      - {{ name: Twilio Durchwahl, dids: "49302{index:04}01-49302{index:04}99", extension: "101-199" }}
  examples:
    "030123456": "+4930123456"
    "23125000": "+493023125000"
    "112": emergency
"""


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="What checking parameter files costs.")
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    table = Table(title=f"Checking parameters, seconds, median of {rounds}")
    table.add_column("What")
    table.add_column("seconds", justify="right")
    table.add_column("at most", justify="right")
    with TemporaryDirectory() as folder:
        site, files = written(Path(folder), TENANTS)

        def check_all() -> None:
            loaded = load_all(site, files, CHECKOUT)
            for each in loaded:
                secret_cautions(*each, CHECKOUT)
            dial_cautions(tenant for _, tenant in loaded)

        def dial_ten() -> None:
            show_calls(site, files[0], DIALLED, None, Console(file=StringIO()), live=False, called=False)

        for what, action, most in (
            (
                f"{TENANTS} tenants with {TENANTS * DIDS_EACH:,} numbers",
                check_all,
                2.0,
            ),
            (f"dial {len(DIALLED)} numbers", dial_ten, 0.5),
            ("ties among 600 rules of one priority", lambda: ties(_rules(600)), 0.3),
            ("judging 600 rules that all tie", lambda: cautions(DialPlan(_tied(600), country="DE")), 0.3),
        ):
            table.add_row(what, f"{_seconds(action, rounds):.2f}", f"{most:.1f}")
    Console(highlight=False, width=110).print(table)


def written(folder: Path, count: int) -> tuple[Path, list[Path]]:
    """Write a site and its tenants, each with rules, numbers and a password of its own."""
    site, tenants = folder / "site.yaml", [folder / f"t{index}.yaml" for index in range(count)]
    site.write_text(SITE)
    os.environ |= {f"BIGTEL_{name}": f"Sandbox secret of {name}" for name in ("TWILIO", "PBX")}
    for index, tenant in enumerate(tenants):
        tenant.write_text(TENANT.format(index=index))
        os.environ[f"BIGTEL_T{index}"] = f"Pw{sha256(str(index).encode()).hexdigest()[:20]}"
    return site, tenants


def _rules(count: int) -> list[Rule]:
    """Rules that all have one priority: each a prefix of its own, with lengths."""
    return [
        Rule(f"Rule {number}", 1000, (f"0{number:04}",), (9, 10, 11), routes=(Route(1, "+49"),))
        for number in range(count)
    ]


def _tied(count: int) -> tuple[Rule, ...]:
    """Rules that all have one priority and apply to the same numbers, each with another result."""
    return tuple(
        Rule(f"Rule {number}", 1000, ("0",), (9, 10, 11), routes=(Route(1, f"+49{number}"),))
        for number in range(count)
    )


def _seconds(action: Callable[[], object], rounds: int) -> float:
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return median(found)


if __name__ == "__main__":
    main()
