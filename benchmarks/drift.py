"""What drift of many tenants costs in requests and seconds; and that it finds exactly what was changed.

All tenants are set up in the sandbox: one in ten with a trunk of its own (an account holds 100), the others
with a share of one. Some are then changed in known places by known people.

::

    make bench                                              1,000 tenants, 30 changed, at 150 ms
    .venv/bin/python -m benchmarks.drift --tenants 100
"""

from __future__ import annotations

import argparse
import json
import os
import resource
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from tests.conftest import started
from tests.test_cli import SITE, runbook
from tests.watch import many

#: What is promised: seconds, and requests a tenant in all and at either vendor.
SECONDS, REQUESTS, AT_ONE_VENDOR = 240.0, 10.0, 6.0


def main() -> None:
    """Measure, print each figure beside what is promised, and fail if a difference is missed or made up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--changed", type=int, default=30)
    parser.add_argument("--latency-ms", type=int, default=150)
    given = parser.parse_args()
    with TemporaryDirectory() as folder, started(Path(folder) / "project") as sandbox:
        os.environ |= sandbox.environment
        own = min(given.tenants // 10, many.MOST_OWN)
        files = many.set_up(sandbox, own, given.tenants - own)
        changes = many.changes(sandbox, files, given.changed)
        many.carry_out(sandbox, changes)
        latency = {f"{vendor}.latency_ms": given.latency_ms for vendor in ("twilio", "portsip")}
        sandbox.control("POST", "switches", latency)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended = runbook(sandbox, "drift", "-s", SITE, *files, "--json", timeout_s=3600)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode != 2:
        raise SystemExit(ended.stdout[-1000:] + ended.stderr[-1000:])
    document = json.loads(ended.stdout)
    found = many.found(document["differences"])
    wanted = {(change.tenant, change.step, change.who) for change in changes}
    table = Table(title=f"Drift of {len(files)} tenants, answers after {given.latency_ms} ms")
    for column in ("what", "measured", "promised"):
        table.add_column(column)
    processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    requests = {vendor: count / len(files) for vendor, count in document["requests"].items()}
    rows: list[tuple[str, object, object]] = [
        ("changed tenants found", f"{len(found & wanted)}", len(wanted)),
        ("their actors known", f"{sum(bool(who) for *_, who in found & wanted)}", len(wanted)),
        ("found and not changed", f"{len(found - wanted)}", 0),
        ("requests a tenant", f"{sum(requests.values()):.2f}", REQUESTS),
        *((f"at {vendor}", f"{count:.2f}", AT_ONE_VENDOR) for vendor, count in requests.items()),
        ("seconds", f"{document['seconds']:.0f}", SECONDS),
        ("of the processors, without the sandbox", f"{processors:.0f}", ""),
    ]
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
    if found != wanted:
        raise SystemExit(f"missed: {sorted(wanted - found)}; made up: {sorted(found - wanted, key=str)}")


if __name__ == "__main__":
    main()
