"""What was made fast reads and compares as the plain way does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runbook_lib.did_pool import DidPool
from runbook_lib.parameters import document, loading
from runbook_lib.parameters.document import Document
from runbook_lib.parameters.plain_yaml import read_plain
from tests.conftest import CHECKOUT

FILES = sorted({*(CHECKOUT / "parameters").rglob("*.yaml"), *(CHECKOUT / "tests").rglob("*.yaml")})
_PLAIN = """word a.b@c/d-e x- 1a a1 _x é 代表 a:b 0 12 true false 10.0.0.1 "quoted" 'single' "" '' '#' 1000"""
#: Much of it is read differently by two versions of YAML, or breaks a line, or is no YAML at all.
_ODD = r"""0100 0o17 08 1_000 1:30 1e3 .5 1. 1.5 +1 -1 0x1f True yes No on y null ~ = << 2001-01-01 -x 'it''s'
"a\nb" "a"b " ' [a,b] [] [a,] [a {} {a:b} &x *x !!str | > % @a `a ? ... --- #only ٣ ² a? a,b"""
_PLAIN_ONES = st.sampled_from([*_PLAIN.split(), "two words", '"a: b"', "'a #b'"])
_ODD_ONES = st.one_of(
    st.sampled_from([*_ODD.split(), "a: b", "a #b", "- a", "a\tb", "a\u2028b", "a\x85b", "a\xa0b", "\ufeff"]),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
_VALUES = st.integers(0, 15).flatmap(lambda number: _PLAIN_ONES if number else _ODD_ONES)
_KEYS = st.sampled_from([*"abcdefghijkmnopqrstuvwxz" * 2, "A.b", '"q"', "'s'", "1", "no", "<<", "a b"])
_BLOCKS = st.sampled_from(
    """  {k}: {v}
  {k}: {v} # about it
  {k}: [{v}, {w}]
  {k}: {{a: {v}, b: [{w}]}}
  {k}:|    {l}: {v}|    m: {w}
  {k}:|    - {v}|    - {w}
  {k}:|  - {v}|  - l: {w}|    m: {v}
  {k}:|    - {{ l: {v}, m: {w} }}||    # a comment
  {k}:|    - l: {v}|      {l}:|        - {w}
  {k}: {v}|    {w}
  # {v}""".splitlines()
)
_LINES = st.builds(
    lambda block, k, i, v, w: block.format(k=k, l=i, v=v, w=w), _BLOCKS, _KEYS, _KEYS, _VALUES, _VALUES
).map(lambda block: block.replace("|", "\n"))


def both(text: str, patch: pytest.MonkeyPatch) -> tuple[Document, Document]:
    """A text as it is read, and as the careful way reads it."""
    found = []
    for reader in (read_plain, lambda _: None):
        patch.setattr(document, "read_plain", reader)
        read = Document("tenant", Path("tenant.yaml"))
        read._parse(text)
        found.append(read)
    return found[0], found[1]


def require_the_same(text: str) -> bool:
    """Require that both ways read the same, with the same lines; return whether the fast one took it."""
    if read_plain(text) is None:
        return False
    with pytest.MonkeyPatch.context() as patch:
        fast, careful = both(text, patch)
    assert fast.content == careful.content and repr(fast.content) == repr(careful.content)
    assert fast.lines == careful.lines and fast.problems == careful.problems
    return True


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_LINES, max_size=4), st.sampled_from(["\n"] * 6 + ["\r\n", "\r"]), st.booleans())
@example(["  a:", "  - b", "  - c: d", "    e: [f, 1]", "  b: {c: d}"], "\n", True)
@example(["  a: 1", "  a: 2"], "\n", True)
@example(["  a: word", "    goes on"], "\n", True)
@example(["  a:", "    b", "  c: 'x'"], "\n", False)
def test_a_file_of_one_meaning_is_read_as_the_careful_way_reads_it(
    lines: list[str], ending: str, ended: bool
) -> None:
    require_the_same("\n".join(["tenant:", *lines]).replace("\n", ending) + ending * ended)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CHECKOUT)))
def test_the_files_that_are_here_are_read_alike(file: Path) -> None:
    taken = require_the_same(file.read_text(encoding="utf-8"))
    # All of the product's own are of that kind, so this compares something.
    assert taken or CHECKOUT / "parameters" not in file.parents


@dataclass(frozen=True)
class Trunk:
    termination: str


@dataclass(frozen=True)
class Owner:
    """What two tenants may have in common."""

    name: str
    pbx_domain: str
    trunk: Trunk | None
    dids: DidPool


_POOLS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), min_size=1, max_size=3).map(
    lambda runs: DidPool(";".join(f"{1000 + first}-{1000 + first + more}" for first, more in runs))
)
_OWNERS = st.builds(
    Owner,
    st.sampled_from("abcdef"),
    st.sampled_from("uvwxyz"),
    st.one_of(st.none(), st.builds(Trunk, st.sampled_from("klmnop"))),
    _POOLS,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_OWNERS, max_size=6))
def test_tenants_that_clash_are_those_of_all_pairs(tenants: list[Any]) -> None:
    found = loading._clashes(tenants)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_meeting", lambda owners: [*combinations(owners, 2)])
        assert found == loading._clashes(tenants)
