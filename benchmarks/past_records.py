"""What past records cost: ``runbook plan`` with 2,000 of them beside the same with one.

Half of them are this tenant's own, with writes; the others are another tenant's. All are made through the
records' own functions from the journal of a real run, with ids of their own. The tenant has an origination
URI that is not ours, so that the plan has to ask who made it.

::

    make bench BENCH='--rounds 1'          fewer than five pairs
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from runbook_lib.keys import trunk
from runbook_lib.plain_files import read_mapping
from runbook_lib.records.journal import FILE_NAME
from runbook_lib.records.ownership import OWNERSHIP, Ownership
from runbook_lib.records.record import close_record, open_record, write_record
from runbook_lib.records.result import write_json
from tests.conftest import TestSandbox, started

from .commands import Spent, run

#: Records of each of the two tenants.
EACH = 1000
TENANTS = ("acme", "globex")
DOMAIN = "acme-pbx.pstn.twilio.com"
FEW, MANY = "one record", f"{EACH * len(TENANTS):,} more"
#: A vendor's id in a journal: of Twilio, or of the PBX.
_ID = re.compile(r"\b(?:[A-Z]{2}[0-9a-f]{32}|\d{18})\b")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description="What past records cost.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    spent: dict[str, list[Spent]] = defaultdict(list)
    with TemporaryDirectory() as folder, started(Path(folder)) as sandbox:
        run(sandbox, "apply")
        _add_foreign_uri(sandbox)
        records = sandbox.root / "records"
        folders = {FEW: sandbox.root / "few", MANY: sandbox.root / "many"}
        shutil.copytree(records, folders[FEW])
        _add_records(records)
        rebuilt_s = _rebuild(records / "demo" / TENANTS[0])
        records.rename(folders[MANY])
        for number in range(rounds + 1):
            for name, of_its_own in folders.items():
                of_its_own.rename(records)
                found = run(sandbox, "plan")
                records.rename(of_its_own)
                if number:  # the first one warms up
                    spent[name].append(found)
    load = " ".join(f"{average:.1f}" for average in os.getloadavg())
    table = Table(title=f"runbook plan and past records, median of {rounds} pairs (load average {load})")
    for heading in ("Records", "wall s", "CPU s"):
        table.add_column(heading)
    values = {
        name: [median(getattr(one, kind) for one in found) for kind in ("wall_s", "cpu_s")]
        for name, found in spent.items()
    }
    for name, seconds in values.items():
        table.add_row(name, *(f"{one:.2f}" for one in seconds))
    more = [f"{many / few - 1:+.0%}" for few, many in zip(values[FEW], values[MANY], strict=True)]
    table.add_row("more (10 % at most)", *more)
    table.add_row("the index made again (5 s at most)", f"{rebuilt_s:.2f}", "")
    Console(highlight=False, width=110).print(table)


def _add_foreign_uri(sandbox: TestSandbox) -> None:
    """Have calls tried at another system last, as somebody may have set by hand."""
    sid = sandbox.vendors.trunk_sids()[DOMAIN]
    uri = {"FriendlyName": "failover", "SipUrl": "sip:198.51.100.7", "Priority": 90, "Weight": 10}
    sandbox.vendors.twilio_http.post(
        f"/v1/Trunks/{sid}/OriginationUrls", data={**uri, "Enabled": "false"}
    ).raise_for_status()


def _add_records(records: Path) -> None:
    """Make the past records of both tenants."""
    [real] = records.glob(f"demo/{TENANTS[0]}/2*/{FILE_NAME}")
    opening = read_mapping(real.parent / "opening.json")
    journal = real.read_text(encoding="utf-8")
    for number in range(EACH):
        for tenant in TENANTS:
            folder = records / "demo" / tenant / f"20250101T{number:06}Z-{number:08x}"
            open_record(
                records,
                folder,
                mode="apply",
                site="demo",
                tenant=tenant,
                target=opening["target"],
                order=("01",),
                parameters={},
                files={},
            )
            text = _ID.sub(lambda found: _other(found[0], number), journal)  # noqa: B023
            (folder / FILE_NAME).write_text(text, encoding="utf-8")
            write_json(folder / "run.json", {"run_id": folder.name, "outcome": "succeeded", "sections": []})
            write_record(folder)
            close_record(records, folder)


def _other(vendor_id: str, number: int) -> str:
    """An id of the same kind that no other record has."""
    return f"{vendor_id[:-6]}{number:06}"


def _rebuild(tenants_records: Path) -> float:
    """Make the index of a tenant's records, which there is none of; return the seconds that it took."""
    (tenants_records / OWNERSHIP).unlink(missing_ok=True)
    journals = list(tenants_records.glob(f"*/{FILE_NAME}"))
    target = json.loads(journals[0].read_text(encoding="utf-8").splitlines()[0])["target"]
    began = time.perf_counter()
    Ownership(tenants_records, target).made(trunk("none"), "none")
    seconds = time.perf_counter() - began
    known = read_mapping(tenants_records / OWNERSHIP)["journals"]
    if len(known) != len(journals):
        raise SystemExit(f"the index knows {len(known)} of {len(journals)} journals")
    return seconds


if __name__ == "__main__":
    main()
