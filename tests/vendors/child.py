"""A process of its own that reads at a vendor in several threads: ``python -m tests.vendors.child THREADS``.

Says ``ready``, and reads with each line that it gets; says ``done`` when all reads were answered.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from runbook_lib.runbook import Runbook

if __name__ == "__main__":
    from tests.sections.test_tenant_level import ACME, SITE

    threads = int(sys.argv[1])
    with Runbook.open(SITE, ACME) as runbook:
        twilio = runbook.context.twilio
        print("ready", flush=True)
        for _ in sys.stdin:
            runbook.context.moment.begin()
            paths = [f"/v1/Trunks?PageSize=1&Page={number}" for number in range(threads)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(twilio.read, paths))
            print("done", flush=True)
