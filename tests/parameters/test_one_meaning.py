"""A parameter file that is accepted means the same to papermill, which reads it with another YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from papermill.iorw import NoDatesSafeLoader, read_yaml_file
from papermill.translators import PythonTranslator

from runbook_lib.errors import InputError
from runbook_lib.parameters import load, load_tenant
from runbook_lib.parameters.both_yaml import _AsPapermill
from tests.conftest import CHECKOUT
from tests.parameters.test_bad_input import problems_of, read

TENANT = (CHECKOUT / "parameters" / "sandbox" / "acme.yaml").read_text()
CONCURRENCY = "  pbx_trunk:\n    max_concurrent_calls: {}\n"
SWITCH = "  accept_interruption: {}\n"
LIST = "  move: {}\n"
#: Written so, the two readers do not agree: the keys, and the text at the end of the demo's tenant.
TWO_MEANINGS = [
    *((CONCURRENCY.format(one), "max_concurrent_calls") for one in ("0100", "0o100", "08", "1:30", "1e3")),
    *((SWITCH.format(one), "accept_interruption") for one in ("yes", "NO", "on", "Off")),
    *((LIST.format(one), "move") for one in ("2001-01-01", "[2001-01-01 10:00:00]", "[1:30]", "[no]")),
    ('  pbx_trunk:\n    max_concurrent_calls: !!int "0100"\n', "max_concurrent_calls"),
    ("  no: x\n", "no"),
    ("  0100: x\n", "0100"),
    ("  pbx_trunk: {max_concurrent_calls: 5, max_concurrent_calls: 6}\n", "max_concurrent_calls"),
    ("  pbx_trunk:\n    <<: {name: a}\n    <<: {name: b}\n", "<<"),
    ("  move: &a []\n  remove: &a []\n  accept_unrouted: *a\n", ""),
    ("  move: !!omap [a: 1]\n", "move"),
    ("  pbx_trunk:\n    name: a\x85b\n", ""),
    ("  pbx_trunk:\n    name: a\u2028b\n", ""),
    ("  move: =\n", ""),
    ("  move: [a\n\t]\n", ""),
]


@pytest.mark.parametrize(("text", "key"), TWO_MEANINGS, ids=lambda one: repr(one)[:40])
def test_what_the_two_readers_read_differently_is_refused_with_its_line(
    tmp_path: Path, text: str, key: str
) -> None:
    problems = problems_of(tmp_path, read("site.yaml"), TENANT + text)
    file, lines = tmp_path / "acme.yaml", (TENANT + text).splitlines()
    found = [one.removeprefix(f"{file}:").partition(":") for one in problems if one.startswith(f"{file}:")]
    assert any(int(line) > len(TENANT.splitlines()) and key in rest for line, _, rest in found), problems
    assert all(int(line) <= len(lines) + 1 for line, _, _ in found)


@pytest.mark.parametrize("value", ["!!bool maybe", "!!int x", "!!timestamp x", "!!float [1]"])
def test_a_value_that_its_tag_does_not_fit_is_a_problem_and_no_crash(tmp_path: Path, value: str) -> None:
    assert problems_of(tmp_path, read("site.yaml"), TENANT + LIST.format(value))


def test_all_of_them_are_reported_at_once(tmp_path: Path) -> None:
    text = CONCURRENCY.format("0100") + SWITCH.format("no") + "  name: other\n"
    problems = problems_of(tmp_path, read("site.yaml"), TENANT + text)
    for key in ("tenant.pbx_trunk.max_concurrent_calls", "tenant.accept_interruption", "tenant.name"):
        assert any(f" {key}: " in one for one in problems), problems


@pytest.mark.parametrize(
    "text",
    [
        CONCURRENCY.format("100"),
        CONCURRENCY.format("0x64"),
        SWITCH.format("True"),
        "  twilio_account: ~\n",
        "  twilio_account:\n",
        "  twilio_account: Null\n",
        '  pbx_trunk: {name: "0100"}\n',
        "  pbx_trunk: {name: !!str 0100}\n",
        "  pbx_trunk: &p {name: a}\n  origination:\n    <<: {transport: tcp}\n",
        "  pbx_trunk: {name: 'yes'}\n",
        '  pbx_trunk:\n    name: "a"\x85\n',
    ],
)
def test_what_both_read_alike_is_accepted(tmp_path: Path, text: str) -> None:
    (tmp_path / "acme.yaml").write_text(TENANT + text)
    assert load_tenant(tmp_path / "acme.yaml", tmp_path) == as_papermill_passes_it(tmp_path / "acme.yaml")


def as_papermill_passes_it(path: Path) -> Any:
    """The tenant that a notebook gets with ``papermill -f FILE``: read, and written into its cell."""
    values: dict[str, Any] = {}
    exec(PythonTranslator.codify(read_yaml_file(str(path))), values)
    return load_tenant(values["tenant"], path.parent)


def test_the_second_reader_is_papermills() -> None:
    assert _AsPapermill.yaml_implicit_resolvers == NoDatesSafeLoader.yaml_implicit_resolvers
    assert (
        _AsPapermill.yaml_constructors
        == NoDatesSafeLoader.yaml_constructors
        == yaml.SafeLoader.yaml_constructors
    )


#: What numbers, switches, dates, nulls and their neighbours are written with.
SCALARS = st.one_of(
    st.text(alphabet="0123456789_.:+-eExobnayfsltruNOYTF~<=!&*", min_size=1, max_size=8),
    st.text(min_size=1, max_size=6),
    st.sampled_from(
        ["0100", "1_000", "1:30", "yes", "Off", "~", ".5", "1e3", ".inf", "2001-01-01", "n", "y"]
    ),
)
#: Keys of every type that a value may have.
PLACES = (
    CONCURRENCY,
    SWITCH,
    "  pbx_trunk: {{name: {}}}\n",
    '  pbx_trunk: {{name: "{}"}}\n',
    LIST,
    "  {}: 1\n",
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scalar=SCALARS, place=st.sampled_from(PLACES))
def test_a_file_that_is_accepted_means_the_same_through_papermill(
    tmp_path: Path, scalar: str, place: str
) -> None:
    path = tmp_path / "acme.yaml"
    path.write_bytes((TENANT + place.format(scalar)).encode("utf-8", "surrogatepass"))
    try:
        ours = load_tenant(path, tmp_path)
    except InputError:
        return
    assert ours == as_papermill_passes_it(path)


def test_the_committed_files_mean_the_same_through_papermill() -> None:
    for path in (CHECKOUT / "parameters").glob("*/*.yaml"):
        content = read_yaml_file(str(path))
        if "tenant" in content:
            assert load_tenant(path, CHECKOUT) == load_tenant(content, CHECKOUT)
    site, acme = (CHECKOUT / "parameters" / "sandbox" / f"{name}.yaml" for name in ("site", "acme"))
    passed = load(read_yaml_file(str(site)), read_yaml_file(str(acme)), CHECKOUT, secrets=False)
    assert load(site, acme, CHECKOUT, secrets=False) == passed
