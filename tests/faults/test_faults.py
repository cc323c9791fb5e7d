"""A sample of the sweep: one case of each kind, chosen by the seed; ``make test-faults`` tries them all."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.conftest import SEED, TestSandbox
from tests.faults.cases import KINDS, Case, makes_sense
from tests.faults.lab import Lab, check_passwords
from tests.faults.running import COURSES, hurry


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


def chosen(lab: Lab, kind: str) -> Case:
    """One case of a kind; the courses take turns, and every second kind is at a write if it can be."""
    index = KINDS.index(kind)
    course = list(COURSES)[(index + SEED) % len(COURSES)]
    fitting = [one for one in lab.requests if one.course == course and makes_sense(one, kind)]
    writes = [one for one in fitting if one.is_write]
    at_writes = writes and (index + SEED) % 2
    return Case(random.Random(f"{SEED} {kind}").choice(writes if at_writes else fitting), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_survives(lab: Lab, kind: str) -> None:
    result = lab.try_case(chosen(lab, kind))
    assert result.survived, f"{result} (seed {SEED}; python -m tests.faults --case {result.name})"


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "cut"])
def test_a_lost_answer_of_a_write_makes_no_double(lab: Lab, kind: str) -> None:
    writes = [one for one in lab.requests if one.is_write]
    for request in random.Random(f"{SEED} {kind} write").sample(writes, 3):
        result = lab.try_case(Case(request, kind))
        assert result.survived, f"{result} (seed {SEED}; python -m tests.faults --case {result.name})"


#: The writes of the two passwords, by section and by the end of the path: 2.3, again in 5, 5.3.
PASSWORDS = (("02", "Credentials.json"), ("05", ".json"), ("05", "/providers"))


@pytest.mark.parametrize("kind", ["killed_before", "killed_after_effect"])
@pytest.mark.parametrize("write", PASSWORDS)
def test_killed_at_a_password_and_the_secret_changed(lab: Lab, write: tuple[str, str], kind: str) -> None:
    section, end = write
    request = next(
        one
        for one in lab.requests
        if (one.course, one.section) == ("acme", section) and one.is_write and one.path.endswith(end)
    )
    state = lab.end_with_another_secret(Case(request, kind), "Another-Passw0rd-99")
    check_passwords(state, "acme-pbx")
