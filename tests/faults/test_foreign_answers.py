"""Every answer of Twilio in a full run that names an account, naming another one: not one write after it.

The sections after the one that stops are run as well, in the same run, as by somebody who does not
read what it says. A sample by the seed; every request of every course with ``make sweep``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from runbook_lib.errors import AccountError
from runbook_sandbox.demo import ACCOUNT_SID, OTHER_ACCOUNT_SID
from tests.conftest import TestSandbox, sample
from tests.faults.lab import Lab
from tests.faults.running import hurry

SAMPLE = 25


@pytest.fixture(scope="module")
def lab(sandbox_of_file: TestSandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox_of_file.environment.items():
            patch.setenv(name, value)
        hurry(patch)
        the_lab = Lab(sandbox_of_file, tmp_path_factory.mktemp("lab"))
        try:
            the_lab.clean_run()
            yield the_lab
        finally:
            the_lab.close()


@pytest.mark.timeout(3 * 3600 if os.environ.get("RUNBOOK_SWEEP") else 600)
def test_nothing_is_written_after_an_answer_for_another_account(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    at_twilio = [one for one in lab.requests if one.vendor == "twilio"]
    count = Counter()
    for request in sample(at_twilio, SAMPLE):
        found = lab.with_a_foreign_answer(request)
        if found is None:
            count["named none"] += 1
            continue
        count["foreign"] += 1
        error = found.error
        assert isinstance(error, AccountError), (request, error)
        assert (error.account, error.other) == (ACCOUNT_SID, OTHER_ACCOUNT_SID), request
        assert error.step and error.meaning and error.next_step, request
        assert found.writes_after == [], request
        # The write that was answered so may have been carried out: what it made is named.
        count["writes"] += request.method == "POST"
        assert (OTHER_ACCOUNT_SID in error.meaning) == (request.method == "POST"), request
    with capsys.disabled():
        print(f"\nforeign answers, of {len(at_twilio)} requests to Twilio: {dict(count)}")
    assert count["foreign"]
