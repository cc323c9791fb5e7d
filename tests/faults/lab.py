"""A sandbox in which any section of a run can be begun again as often as wanted, and cases are tried.

A clean run of every course comes first. Its end is compared with the state that was written by hand
(``tests/sections/expected.py``), or with the state before what is taken back; what the vendors and the
records folder looked like when each section began is kept, and put back for each case of that section.
Every run is under the approval of the one plan that was made before the course's first section.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from runbook_lib.errors import RunbookError, SignInError
from runbook_lib.guide import RETIRE, RUN_ORDER
from runbook_lib.records.journal import FILE_NAME, read_journal
from runbook_lib.records.record import close_record, open_record
from runbook_lib.vendors.sign_in import SignInGate
from tests.conftest import CHECKOUT, TestSandbox
from tests.faults.canonical import Canonical
from tests.faults.cases import FAULTS, ID, SLOW, Case, Request
from tests.faults.running import COURSES, RECORD, SITE, Course, carry_out, hurry, open_runbook, run_section
from tests.sections.expected import (
    ACME_PBX_TRUNK,
    ACME_TRUNK,
    ASSIGNMENTS,
    CARRIER_PBX_TRUNK,
    CARRIER_TRUNK,
    INBOUND,
    OUTBOUND,
)
from tests.sections.test_system_level import assignments, check_final_state, rules_of
from tests.vendor_state import VendorState

WELL, AGAIN = "ended well", "finished when run again"


class NotSurvivedError(AssertionError):
    """What must hold does not."""


@dataclass(frozen=True)
class Moment:
    """What a section finds when it begins: the vendors' state and a copy of the records folder."""

    state: dict[str, Any]
    records: Path


@dataclass(frozen=True)
class Result:
    """What became of a case: ``how`` it ended, ``error`` for the class of the error that stopped it."""

    name: str
    how: str
    error: str = ""
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        return self.how in (WELL, AGAIN)


@dataclass(frozen=True)
class Foreign:
    """What became of a run in which one answer named another account."""

    error: RunbookError | None
    writes_after: list[dict[str, Any]]


class Lab:
    """
    Parameters
    ----------
    sandbox
        Of one's own while this is used.
    folder
        For plans and copies of the records folder.
    to_the_end
        Go on to the end with every case. Otherwise a case whose section left the vendors, the journals
        and the records folder as another case did, which went on to the end, is taken to end as that
        one: what comes next depends on nothing else.
    """

    def __init__(self, sandbox: TestSandbox, folder: Path, *, to_the_end: bool = True) -> None:
        self.requests: list[Request] = []
        self._sandbox = sandbox
        self._folder = folder
        self._to_the_end = to_the_end
        self._http = httpx.Client(base_url=sandbox.urls["control_url"] + "/", timeout=30, trust_env=False)
        #: Of all sites, with their chain; and the site's own.
        self._all_records = sandbox.root / "records"
        self._records = self._all_records / SITE["site"]["name"]
        self._moments: dict[tuple[str, str], Moment] = {}
        self._approvals: dict[str, dict[str, str]] = {}
        self._ends: dict[str, dict[str, Any]] = {}
        self._ended_well: set[str] = set()
        self._killer: subprocess.Popen[str] | None = None

    def close(self) -> None:
        self._http.close()
        if self._killer is not None:
            self._killer.stdin.close()
            self._killer.wait()
            self._killer.stdout.close()

    def clean_run(self) -> None:
        """Run every course without a fault, check where it ends, and keep what each section began with."""
        for name, course in COURSES.items():
            self.control("POST", "reset")
            shutil.rmtree(self._all_records, ignore_errors=True)
            for tenant in course.after:
                before_last = self._state()
                self._leave_a_record(tenant)
            before = self._state()
            self._approvals[name] = self._approval(name)
            for number in course.sections:
                self._moments[name, number] = self._moment(f"{name}-{number}")
                self.control("DELETE", "requests")
                run_section(course, number, self._approvals[name])
                log = self.control("GET", "requests")["requests"]
                self.requests += [
                    Request(name, number, nth, one["vendor"], one["method"], one["path"])
                    for nth, one in enumerate(log, start=1)
                ]
            after = self._state()
            if course.is_way_back:
                check_taken_back(before_last, after, retired=RETIRE in course.sections)
            else:
                check_by_hand(self._sandbox.vendors, course.tenant)
                check_foreign(before, after)
                check_passwords(after, "acme-pbx" if course.tenant == "acme" else "carrier-pbx")
            self._ends[name] = Canonical(after).tables
            self._nothing_left_to_do(name)

    def _leave_a_record(self, tenant: str) -> None:
        """Run a tenant's sections into one record, as the runner does."""
        folder = self._records / tenant / RECORD
        with open_runbook(COURSES[tenant]) as runbook:
            target = runbook.target
        open_record(
            self._all_records,
            folder,
            mode="apply",
            site=SITE["site"]["name"],
            tenant=tenant,
            target=target,
            order=RUN_ORDER,
            parameters={},
            files={},
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RUNBOOK_RUN_DIR", str(folder))
            for number in RUN_ORDER:
                run_section(COURSES[tenant], number, {})
        close_record(self._all_records, folder)

    def try_case(self, case: Case) -> Result:
        """Try a case and say what became of it."""
        began = time.monotonic()
        try:
            how, error = self._tried(case)
        except NotSurvivedError as problem:
            how, error = f"NOT SURVIVED: {problem}", ""
        return Result(case.name, how, error, round(time.monotonic() - began, 3))

    def with_a_foreign_answer(self, request: Request) -> Foreign | None:
        """Let one answer name another account, and go on with all later sections, whatever they raise.

        Return ``None`` for an answer that names no account.
        """
        course = COURSES[request.course]
        self._put_back(self._moments[request.course, request.section])
        self.control("POST", "faults", {**FAULTS["foreign_account"], "nth": request.nth, "count": 1})
        order, errors = course.sections, []
        with open_runbook(course, mode="apply", **self._approvals[request.course]) as runbook:
            for number in order[order.index(request.section) :]:
                try:
                    carry_out(runbook, number)
                except RunbookError as error:
                    errors.append(error)
        log = self.control("GET", "requests")["requests"]
        met = [index for index, one in enumerate(log) if one["fault"]]
        self.control("DELETE", "faults")
        if not met:
            _must(not errors, f"it stopped without a foreign answer: {errors}")
            return None
        return Foreign(errors[0] if errors else None, [one for one in log[met[0] + 1 :] if one["effect"]])

    def end_with_another_secret(self, case: Case, value: str) -> dict[str, Any]:
        """Kill a run, change the secret that both sides share, run again; return the vendors' state."""
        name = case.request.course
        self._put_back(self._moments[name, case.request.section])
        self._killed(case)
        path = self._sandbox.root / ".sandbox" / "secrets" / f"sip_password_{COURSES[name].tenant}"
        kept = path.read_text()
        path.write_text(value)
        try:
            for number in COURSES[name].sections:
                self._run_or_fail(name, number, "run again")
        finally:
            path.write_text(kept)
        return self._state()

    def _tried(self, case: Case) -> tuple[str, str]:
        name, number = case.request.course, case.request.section
        course = COURSES[name]
        self._put_back(self._moments[name, number])
        stopped = self._killed(case) if case.kind not in FAULTS else self._faulty(case)
        self._no_call_lost(course)
        alive = self.control("GET", "sessions")["alive"]
        # A killed run leaves its sessions to expire; a lost answer of a sign-in or a sign-out one.
        allowed = 2 if case.kind not in FAULTS else 1
        _must(alive <= allowed, f"{alive} sessions of the PBX were left")
        if self._goes_on_like_another(case, stopped):
            return (AGAIN if stopped else WELL), stopped
        order = course.sections
        for one in order if stopped else order[order.index(number) + 1 :]:
            self._run_or_fail(name, one, "run again" if stopped else "the next section")
        self._no_call_lost(course)
        tables = Canonical(self._state()).tables
        moved = {table: rows for table, rows in tables.items() if rows != self._ends[name][table]}
        _must(not moved, f"the final state is another one: {_differences(moved, self._ends[name])}")
        self._nothing_left_to_do(name)
        self._ended_well.add(self._situation)
        return (AGAIN if stopped else WELL), stopped

    def _faulty(self, case: Case) -> str:
        """Run the case's section with the fault; return the class of the error that stopped it, or ""."""
        name, number = case.request.course, case.request.section
        error = ""
        with self._patience(case):
            self.control("POST", "faults", {**FAULTS[case.kind], "nth": case.request.nth, "count": 1})
            try:
                run_section(COURSES[name], number, self._approvals[name])
            except RunbookError as caught:
                _must_be_clear(caught)
                error = type(caught).__name__
            except Exception as caught:
                raise NotSurvivedError(f"{type(caught).__name__}: {caught}") from caught
            self._wait_for_ports()
            if case.kind == "slow_before_effect":
                self._wait_for_the_late_one()
        met = [one for one in self.control("GET", "faults")["faults"] if one["applied"] == 1]
        _must(len(met) == 1, "the fault was not met: the run sent other requests than the clean run")
        self.control("DELETE", "faults")
        # Reads go out side by side, so another request than in the clean run may have met the fault.
        if case.kind == "wrong_password":
            log = self.control("GET", "requests")["requests"]
            [met] = [entry for entry in log if entry["fault"] == case.kind]
            if met["path"].endswith("/auth/sign_in"):
                self._one_attempt_only(name, number, error)
        return error

    def _one_attempt_only(self, name: str, number: str, error: str) -> None:
        """After a refused sign-in: nobody tried again, nobody does until it is cleared."""
        _must(error == "SignInError", f"a refused sign-in ended in {error or 'success'}")
        try:
            run_section(COURSES[name], number, self._approvals[name])
        except SignInError as remembered:
            _must_be_clear(remembered)
        else:
            raise NotSurvivedError("a refused sign-in is not remembered")
        log = self.control("GET", "requests")["requests"]
        after = next(index for index, one in enumerate(log) if one["fault"] == "wrong_password")
        tries = [one for one in log[after:] if one["path"].endswith("/auth/sign_in")]
        _must(len(tries) == 1, f"{len(tries)} attempts reached the PBX with a refused password")
        _must(SignInGate(self._records).clear(), "there is no refusal to clear")

    def _killed(self, case: Case) -> str:
        """Run the case's section in a process that is killed; check its journal."""
        request = case.request
        if self._killer is None:
            self._killer = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.child"],
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        order = {
            "course": request.course,
            "section": request.section,
            "nth": request.nth,
            "kind": case.kind,
            "approval": self._approvals[request.course],
            "control_url": self._sandbox.urls["control_url"],
        }
        before = {path for path in self._records.glob(f"**/{FILE_NAME}")}
        self._killer.stdin.write(json.dumps(order) + "\n")
        self._killer.stdin.flush()
        ended = json.loads(self._killer.stdout.readline())
        _must(ended["signal"] == 9, f"the run was not killed: {ended}")
        new = [path for path in self._records.glob(f"**/{FILE_NAME}") if path not in before]
        in_flight = [one for path in new for one in read_journal(path) if one["answer"] is None]
        shown = [(one["method"], urlsplit(one["path"]).path) for one in in_flight]
        wanted = [(request.method, request.path)] if request.is_write else []
        _must(self._plain(shown) == self._plain(wanted), f"the journal shows in flight: {shown}")
        return "killed"

    def _goes_on_like_another(self, case: Case, stopped: str) -> bool:
        state = Canonical(self._state())
        marked = SignInGate(self._records).marker.exists()
        begins = "at the first section" if stopped else f"after {case.request.section}"
        self._situation = json.dumps(
            [case.request.course, begins, marked, state.tables, state.journals(self._records)]
        )
        return not self._to_the_end and self._situation in self._ended_well

    def _run_or_fail(self, name: str, number: str, when: str) -> None:
        try:
            run_section(COURSES[name], number, self._approvals[name])
        except Exception as error:
            raise NotSurvivedError(
                f"{when}: section {number} stopped: {type(error).__name__}: {error}"
            ) from error

    def _nothing_left_to_do(self, name: str) -> None:
        """One more run under the same approval: not one write."""
        self.control("DELETE", "requests")
        with open_runbook(COURSES[name], mode="apply", **self._approvals[name]) as runbook:
            for number in COURSES[name].sections:
                runbook.section(number).apply()
        writes = self._sandbox.writes()
        _must(not writes, f"the following run wrote: {[(one['method'], one['path']) for one in writes]}")

    def _no_call_lost(self, course: Course) -> None:
        """No number that reached something ever stopped reaching anything, but where leave was given."""
        if course.is_way_back:
            return
        reached: set[str] = set()
        for change in self.control("GET", "timeline")["changes"]:
            if change["routed"]:
                reached.add(change["number"])
            else:
                _must(change["number"] not in reached, f"calls were cut off: {change}")

    def _approval(self, name: str) -> dict[str, str]:
        with open_runbook(COURSES[name]) as runbook:
            plan = runbook.plan()
        path = self._folder / f"{name}.plan.json"
        path.write_text(json.dumps(plan.to_document()))
        return {"plan_file": str(path), "approved_plan": plan.digest, "approved_by": "pat"}

    @staticmethod
    def _plain(requests: list[tuple[str, str]]) -> list[str]:
        """Requests without ids: a resource that was made in this very run has another id each time."""
        return [re.sub(ID, "ID", " ".join(one)) for one in requests]

    def _state(self) -> dict[str, Any]:
        return self.control("GET", "state")

    def _moment(self, name: str) -> Moment:
        copy = self._folder / name
        if self._all_records.exists():
            shutil.copytree(self._all_records, copy)
        else:
            copy.mkdir()
        return Moment(self._state(), copy)

    def _put_back(self, moment: Moment) -> None:
        self.control("POST", "reset", {"state": moment.state})
        shutil.rmtree(self._all_records, ignore_errors=True)
        shutil.copytree(moment.records, self._all_records)

    @contextmanager
    def _patience(self, case: Case) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            if case.kind in SLOW:
                hurry(patch, impatient=True)
            yield

    def _wait_for_the_late_one(self) -> None:
        """Return when the sandbox is through with a request that everybody has given up on."""
        deadline = time.monotonic() + 10
        while any(
            one["fault"] and one["status"] is None for one in self.control("GET", "requests")["requests"]
        ):
            _must(time.monotonic() < deadline, "the sandbox does not get through")
            time.sleep(0.01)

    def _wait_for_ports(self) -> None:
        """Return when both ports take connections again."""
        for name in ("twilio_api_url", "portsip_url"):
            parts = urlsplit(self._sandbox.urls[name])
            _patiently(lambda at=(parts.hostname, parts.port): socket.create_connection(at, 5).close())

    def control(self, method: str, path: str, body: object = None) -> Any:
        # A refused port of Twilio's is that of the sandbox's own routes, too.
        answer = _patiently(lambda: self._http.request(method, path, json=body))
        answer.raise_for_status()
        return answer.json()


def check_by_hand(vendors: VendorState, tenant: str) -> None:
    """Compare a tenant's end with the state written by hand."""
    if tenant == "acme":
        assert vendors.trunk(ACME_TRUNK["domain_name"]) == ACME_TRUNK
        assert vendors.pbx("acme.pbx.example").trunks()[ACME_PBX_TRUNK["name"]] == ACME_PBX_TRUNK
    elif tenant == "globex":
        domain = "globex.pbx.example"
        alone = {**CARRIER_TRUNK, "numbers": ["+12025550105", "+12025550106"]}
        assert vendors.trunk(CARRIER_TRUNK["domain_name"]) == alone
        trunk = vendors.pbx().trunks()[CARRIER_PBX_TRUNK["name"]]
        assert {name: trunk[name] for name in CARRIER_PBX_TRUNK} == CARRIER_PBX_TRUNK
        assert assignments(vendors) == {domain: ASSIGNMENTS[domain]}
        assert rules_of(vendors, domain, trunk["name"]) == (INBOUND[domain], OUTBOUND[domain])
    else:
        check_final_state(vendors)


def check_foreign(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Everything that was there is there as it was; only numbers were pointed at a trunk."""
    for vendor in ("twilio", "portsip"):
        for table, rows in before[vendor].items():
            if not isinstance(rows, dict) or table == "numbers":
                assert table == "numbers" or after[vendor][table] == rows
            else:
                assert {key: after[vendor][table].get(key) for key in rows} == rows
    for sid, number in before["twilio"]["numbers"].items():
        if after["twilio"]["numbers"][sid] != number:
            trunk = after["twilio"]["trunks"][after["twilio"]["numbers"][sid]["trunk_sid"]]
            assert trunk["sid"] not in before["twilio"]["trunks"] or number["trunk_sid"] is None


def check_taken_back(before: dict[str, Any], after: dict[str, Any], *, retired: bool) -> None:
    """Everything is as it was before the run that was taken back.

    A retirement gives its numbers no application back that they had before the tenant's run.
    """
    was, now = Canonical(before).tables, Canonical(after).tables
    del was["twilio released_domains"], now["twilio released_domains"]
    if retired:
        for tables in (was, now):
            del tables["twilio numbers"]
        known = {trunk["sid"] for trunk in before["twilio"]["trunks"].values()} | {None}
        assert {number["trunk_sid"] for number in after["twilio"]["numbers"].values()} <= known
        assert after["twilio"]["numbers"].keys() == before["twilio"]["numbers"].keys()
    moved = {table: rows for table, rows in now.items() if rows != was[table]}
    assert not moved, _differences(moved, was)


def check_passwords(state: dict[str, Any], username: str) -> None:
    """Both sides of the trunk hold the same password."""
    users = [one for one in state["twilio"]["credentials"].values() if one["username"] == username]
    trunks = [one for one in state["portsip"]["providers"].values() if one["auth_id"] == username]
    assert [one["password_sha256"] for one in users] == [one["password_sha256"] for one in trunks]
    assert len(users) == 1


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotSurvivedError(otherwise)


def _must_be_clear(error: RunbookError) -> None:
    missing = [part for part in ("what", "step", "meaning", "next_step") if not getattr(error, part)]
    _must(not missing, f"{type(error).__name__} does not say its {', '.join(missing)}: {error}")


def _patiently(call: Any) -> Any:
    deadline = time.monotonic() + 10
    while True:
        try:
            return call()
        except (OSError, httpx.TransportError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _differences(moved: dict[str, Any], wanted: dict[str, Any]) -> str:
    parts = []
    for name, rows in moved.items():
        if not isinstance(rows, list) or not isinstance(wanted[name], list):
            parts.append(f"{name} is {rows}, expected {wanted[name]}")
            continue
        extra, missing = list(rows), []
        for row in wanted[name]:
            if row in extra:
                extra.remove(row)
            else:
                missing.append(row)
        parts.append(f"{name}: too much {extra}, missing {missing}")
    return "; ".join(parts)
