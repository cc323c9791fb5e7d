"""What a section asks of the vendors does not grow with the account and the PBX.

Measured at the size of the demo and at one that fills more than a page of every collection; ``make scale``
measures that of a large provider and prints the table.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import Any

import pytest

from runbook_lib.guide import RETIRE, ROLL_BACK, RUN_ORDER, TRUNK_ORDER
from tests.conftest import TestSandbox
from tests.sections.test_system_level import GLOBEX, INITECH
from tests.sections.test_tenant_level import ACME, run_section
from tests.sections.test_way_back import recorded, way_back

LARGE = {"numbers": 5000, "trunks": 100, "lists": 998, "pbx_trunks": 3000, "tenants": 1000}
#: More than a page of the PBX's (100), and than one of Twilio's own length (50).
MORE_THAN_A_PAGE = {"numbers": 60, "trunks": 60, "lists": 60, "pbx_trunks": 120, "tenants": 120}
#: Level, name, parameters, sections and way back of each life that is measured.
LIVES = (
    ("tenant", "acme", ACME, RUN_ORDER, RETIRE),
    ("system", "globex", GLOBEX, RUN_ORDER, ROLL_BACK),
    ("system", "initech", INITECH, RUN_ORDER, RETIRE),
    ("trunk", "trunk:carrier", "trunk:carrier", TRUNK_ORDER, RETIRE),
)
#: Pages of 1,000 numbers beyond the first. Twilio has no filter for numbers that nothing uses, which
#: section 0 shows; every reading of it has them all.
MORE_PAGES = 4
#: How often a section reads: for the tables, the plan, before it writes, and back.
READINGS = 4


def measure(
    sandbox: TestSandbox, wanted: dict[str, int], lives: tuple[Any, ...] = LIVES
) -> dict[tuple[str, str], int]:
    """Requests of every section, by run and section, in a whole life: set up, again, verified, taken back."""
    counts: Counter[tuple[str, str]] = Counter()

    def counted(run: str, number: str, call: Any) -> None:
        sandbox.clear_log()
        result = call()
        assert result["outcome"] == "succeeded"
        if result["verification"] is not None:
            assert result["verification"]["ok"] or result["mode"] == "plan"
        counts[run, number] += len(sandbox.control("GET", "requests").json()["requests"])

    sandbox.control("POST", "reset")
    # What another account's journals say is nothing to this one.
    shutil.rmtree(sandbox.root / "records", ignore_errors=True)
    # One trunk is left for us to make at each level: an account holds 100.
    sandbox.control("POST", "scale", wanted)
    for level, name, tenant, order, _ in lives:
        with recorded(sandbox, name.replace(":", "-")):
            for number in order:
                counted(f"{level} apply", number, lambda: run_section(number, "apply", tenant))  # noqa: B023
        for mode, run in (("apply", "second"), ("verify", "verify"), ("plan", "plan")):
            for number in order:
                counted(f"{level} {run}", number, lambda: run_section(number, mode, tenant))  # noqa: B023
    # What takes a shared trunk away comes after what takes its tenants off.
    for level, name, *_, back in sorted(lives, key=lambda life: (life[0] == "trunk", life[-1] == ROLL_BACK)):
        counted(f"{level} apply", back, lambda: way_back(back, name))  # noqa: B023
    return counts


def check(normal: dict[tuple[str, str], int], large: dict[tuple[str, str], int], more_pages: int) -> None:
    assert large.keys() == normal.keys()
    for (run, number), count in normal.items():
        pages = more_pages * READINGS * (2 if run.startswith("system") else 1) if number == "00" else 0
        assert 0 < large[run, number] <= count + pages, (run, number)


def test_requests_do_not_grow_with_a_page(sandbox: TestSandbox) -> None:
    tenant = LIVES[:1]
    check(measure(sandbox, {}, tenant), measure(sandbox, MORE_THAN_A_PAGE, tenant), 0)


@pytest.mark.timeout(1200)
@pytest.mark.skipif(not os.environ.get("RUNBOOK_SWEEP"), reason="takes minutes: make scale")
def test_requests_do_not_grow_with_the_account(sandbox: TestSandbox) -> None:
    normal = measure(sandbox, {})
    large = measure(sandbox, {**LARGE, "trunks": LARGE["trunks"] - 2})
    print(f"\n{'run':<16} {'section':<8} {'demo':>6} {'large':>6}")
    for (run, number), count in sorted(normal.items()):
        print(f"{run:<16} {number:<8} {count:>6} {large[run, number]:>6}")
    check(normal, large, MORE_PAGES)
