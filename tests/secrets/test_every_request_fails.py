"""Every request of a full run at both levels, answered with a refusal that repeats what was sent.

Each case is a run in a process of its own, in which from one request on the vendor refuses everything
and repeats the credentials and the body of what it refuses. Everything that the run left and showed is
searched for every canary in every form. ``RUNBOOK_SWEEP=1`` does every case, otherwise one for each level
and vendor: what they are sent, and so repeat, is not the same.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from tests.secrets.conftest import CHECKOUT, Canaries

SWEEP = bool(os.environ.get("RUNBOOK_SWEEP"))
LEVELS = ("acme", "globex")
#: 401 makes the client send its refresh token; after 500 it tries reads again.
STATUS = (401, 403, 500)
Run = Callable[[str], str]


@pytest.fixture
def run(canaries: Canaries) -> Iterator[Run]:
    """Runs a tenant in a fresh process, with nothing left of the run before; says where it ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.secrets.drive"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env=canaries.environment,
    ) as driver:

        def run(tenant: str) -> str:
            for folder in (canaries.records, canaries.folder / "out"):
                shutil.rmtree(folder, ignore_errors=True)
            canaries.sandbox.control("POST", "reset", {"keep": ["credentials"]})
            for proxy in (canaries.twilio, canaries.portsip):
                proxy.tokens.clear()
                proxy.requests = 0
            case = {
                "site": str(canaries.site),
                "tenant": str(canaries.folder / f"{tenant}.yaml"),
                "shown": str(canaries.folder / "out" / "shown.txt"),
                "environment": canaries.environment,
            }
            driver.stdin.write(json.dumps(case) + "\n")
            driver.stdin.flush()
            return json.loads(driver.stdout.readline())

        yield run
        driver.stdin.close()


@pytest.mark.timeout(3 * 3600 if SWEEP else 300)
@pytest.mark.parametrize("canaries", range(3), indirect=True, ids=["turn 0", "turn 1", "turn 2"])
def test_no_failure_of_any_request_lets_a_secret_out(
    canaries: Canaries, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    if canaries.turn == 2:
        canaries.with_api_key()
    requests = {}
    for tenant in LEVELS:
        assert run(tenant) == "end", (canaries.folder / "out/shown.txt").read_text()
        for vendor in ("twilio", "portsip"):
            requests[tenant, vendor] = getattr(canaries, vendor).requests
    every = [
        (tenant, vendor, number, status)
        for (tenant, vendor), count in requests.items()
        for number, status in product(range(1, count + 1), STATUS)
    ]
    # Each kind of place has its turn with each request; the status moves on with the turns.
    mine = [one for index, one in enumerate(every) if index % 3 == canaries.turn]
    chosen = random.Random(canaries.turn)
    cases = mine if SWEEP else [chosen.choice([one for one in mine if one[:2] == side]) for side in requests]
    total, ended, found = Counter(cases=len(cases)), Counter(), []
    for tenant, vendor, number, status in cases:
        proxy = getattr(canaries, vendor)
        proxy.echo, proxy.echo_after, proxy.status = ".", number - 1, status
        ended[run(tenant)] += 1
        proxy.echo = ""
        leaks, figures = canaries.leaks()
        found += [(tenant, vendor, number, status, leak) for leak in leaks]
        total.update({name: figures[name] for name in ("files", "bytes", "found")})
    with capsys.disabled():
        print(f"\n{dict(total)}; requests {sum(requests.values())}; ended at {dict(sorted(ended.items()))}")
    assert found == []
    assert not ended["crashed"] and ended["end"] < len(cases)
