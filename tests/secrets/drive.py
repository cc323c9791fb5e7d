"""Runs a tenant's sections as the notebooks' cells do, in a fresh process for each line of the input.

A line of standard input is ``{"site": …, "tenant": …, "shown": …, "environment": {…}}``; the answer is a
line with the section at which the run ended, or ``"end"``. Everything that the cells show, as text and
as HTML, and everything that the process prints, goes to the file ``shown``. The processes are forks of
this one, which has imported the library and knows no secret.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from runbook_lib.errors import RunbookError
from runbook_lib.notebook.failures import rendered
from runbook_lib.notebook.section_page import open_section
from runbook_lib.parameters import load, project_root
from runbook_lib.records.record import open_record, write_record
from runbook_lib.records.result import RUN_FOLDER, new_run_id
from runbook_lib.runbook import Runbook
from runbook_lib.secret import scrub
from runbook_lib.vendors import transport


def run(site: str, tenant: str) -> str:
    """Work through all sections; return the number of the one that failed, or ``"end"``."""
    root = project_root()
    the_site, the_tenant = load(site, tenant, root)
    folder = root / "records" / the_site.name / the_tenant.name / new_run_id()
    os.environ[RUN_FOLDER] = str(folder)
    ended_at = "end"
    runbook = Runbook.open(site, tenant, mode="apply")
    open_record(
        root / "records",
        folder,
        mode="apply",
        site=the_site.name,
        tenant=the_tenant.name,
        target=runbook.target,
        order=runbook.order,
        parameters={},
        files={},
    )
    for number in runbook.order:
        try:
            page = open_section(number, site, tenant, "apply")
            for cell in (page.current, page.plan, page.apply, page.verify, page.finish):
                shown = cell()
                print(shown.text(), shown.html(), sep="\n")
        except RunbookError as error:
            print(*rendered(error), str(scrub(str(error))), sep="\n")
            print(scrub(traceback.format_exc()), file=sys.stderr)
            ended_at = number
            break
    if folder.exists():
        write_record(folder)
    return ended_at


def run_in_child(case: dict[str, object]) -> str:
    """Fork, run the case there, and return how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        ended = "crashed"
        try:
            os.environ.update(case["environment"])
            shown = os.open(str(case["shown"]), os.O_WRONLY | os.O_CREAT, 0o600)
            for stream in (1, 2):
                os.dup2(shown, stream)
            # The same number of attempts as ever, without the waits between them.
            for wait in ("FIRST_WAIT_S", "LONGEST_WAIT_S", "JITTER_S"):
                setattr(transport, wait, 0.0)
            ended = run(str(case["site"]), str(case["tenant"]))
        except BaseException:
            print(scrub(traceback.format_exc()))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.write(writing, ended.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        ended = answer.read()
    os.waitpid(child, 0)
    return ended


if __name__ == "__main__":
    for line in sys.stdin:
        case = json.loads(line)
        Path(case["shown"]).parent.mkdir(exist_ok=True)
        print(json.dumps(run_in_child(case)), flush=True)
