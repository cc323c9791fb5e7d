"""One tenant of a batch in its own process: reports to its parent what happens, one line of JSON each.

``python -m runbook_lib.batch.worker TASK``; see ``task.Task``.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from pydantic_core import to_jsonable_python

from ..approval import GivenApproval
from ..errors import RunbookError, cause_of
from ..parameters.loading import SHARED
from ..screen import guard
from ..secret import scrub_data
from .observer import Observer
from .results import SectionResult, TenantResult
from .runner import run_tenants
from .task import Task

STARTED, SECTION, ENDED, ERROR, REMARK = "started", "section", "ended", "error", "remark"
POLICY = "policy"


class _Teller(Observer):
    def on_policy(self, tenant: str, seen: str) -> None:
        _tell(POLICY, [tenant, seen])

    def on_section_start(self, tenant: str, section: str) -> None:
        _tell(STARTED, section)

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        _tell(SECTION, asdict(result))

    def on_tenant_end(self, result: TenantResult) -> None:
        _tell(ENDED, asdict(result))


def _tell(event: str, what: Any) -> None:
    # Plain first: a path is not text, so the filter would not look at it.
    print(json.dumps({event: scrub_data(to_jsonable_python(what))}), flush=True)


def main() -> int:
    """Run the tenant; the exit status is the batch's of this one tenant."""
    guard()
    task = Task.from_text(sys.argv[1])
    try:
        result = run_tenants(
            Path(task.site),
            [task.tenant if task.tenant.startswith(SHARED) else Path(task.tenant)],
            task.mode,
            cast(GivenApproval, task.approval),
            _Teller(),
            task.sections,
            task.options,
            run_ids=[task.run_id],
            batch=task.batch,
            overview=False,  # the batch writes it once
        )
        for remark in result.remarks:
            _tell(REMARK, remark)
        return result.exit_status
    except RunbookError as error:
        _tell(ERROR, {"told": str(error), "cause": cause_of(error)})
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
