"""Discover: what was set up by hand becomes parameters that plan as in place; the rest is named."""

from __future__ import annotations

import os
import time
from pathlib import Path

import yaml

from runbook_lib.discover.drafts import Misfit
from runbook_lib.discover.finding import Discovery, discover_site
from runbook_lib.keys import Why
from runbook_lib.parameters import load_all, load_site
from runbook_lib.plan import CHANGING, STOPPING
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.discover.by_hand import ODDITIES, ByHand
from tests.test_cli import SITE, runbook

#: Tenants, of which a third has a share of a shared trunk and every odd one comes once for so many sound.
SIZE = 200 if os.environ.get("RUNBOOK_SWEEP") else 20
NAMED = {
    "wide list": Misfit.WIDE_LIST,
    "no credentials": Misfit.NO_CREDENTIALS,
    "no origination": Misfit.ONE_SIDED,
    "number off": Misfit.NUMBER_ON_NO_TRUNK,
    "empty pool": Misfit.POOL_WITHOUT_NUMBERS,
    "keep alive": Misfit.STEP,
    "masked rule": Misfit.RULE,
    "capital letter": Misfit.NAME,
    "overlap": Misfit.OVERLAP,
}


def find(sandbox: TestSandbox) -> Discovery:
    return discover_site(load_site(str(sandbox.root / SITE), sandbox.root), sandbox.root)


def test_every_sound_tenant_is_in_place_and_every_odd_one_is_named(sandbox: TestSandbox) -> None:
    hand = ByHand(sandbox)
    shared = hand.shared("many")
    odd = {}
    for number in range(SIZE):
        oddity = _oddity(number)
        name = f"Tenant {number}"
        if oddity:
            odd[oddity] = (name, f"t{number}")
        # An account holds 100 trunks; two tenants whose pools overlap have shares of one.
        overlaps = "overlap" in (oddity, _oddity(number + 1))
        shares = overlaps or (not oddity and (number % 3 == 0 or number > 90))
        domain = f"{'T' if oddity == 'capital letter' else 't'}{number}.pbx.example"
        hand.tenant(number, name, domain, oddity, shared if shares else "")
    sandbox.clear_log()
    began = time.monotonic()
    found = find(sandbox)
    seconds = time.monotonic() - began
    assert sandbox.writes() == []
    sound = {f"t{number}" for number in range(SIZE) if not _oddity(number)}
    sound -= {f"t{number}" for number in range(SIZE) if _oddity(number + 1) == "overlap"}
    assert sound <= {*found.in_place}, [one for one in found.drafts.odd if one.whose in sound]
    for oddity, (name, label) in odd.items():
        whose = {one.whose for one in found.drafts.odd if one.kind is NAMED[oddity]}
        assert whose & {name, label, f"Twilio odd-{label[1:]}"}, (oddity, found.drafts.odd)
    print(f"{SIZE} tenants: {found.requests}, {seconds:.0f} s")


def _oddity(number: int) -> str:
    """What is odd about a tenant; empty for one that is sound."""
    return ODDITIES[number // 2] if number % 2 and number // 2 < len(ODDITIES) else ""


HOSTILE = {
    "../../etc/x": "a..b",
    "<script>alert(1)</script>": "site",
    "evil\x1b[2J\u202ename": "con",
    "!!python/object:os.system": "no",
}


def test_hostile_names_are_inert_and_stay_in_the_folder(sandbox: TestSandbox, tmp_path: Path) -> None:
    hand = ByHand(sandbox)
    for number, (name, label) in enumerate(HOSTILE.items()):
        hand.tenant(number, f"T{number}", f"{label.replace('..', '')}.pbx.example")
        row = {"vendor": "portsip", "kind": "tenants", "match": {"name": f"T{number}"}}
        sandbox.control("POST", "state/patch", row | {"set": {"name": name}})
    trunk = {"vendor": "twilio", "kind": "trunks", "match": {"domain_name": "no.pstn.twilio.com"}}
    sandbox.control("POST", "state/patch", trunk | {"set": {"friendly_name": "a: !!python/object [x]\n- b"}})
    rule = {"vendor": "portsip", "kind": "inbound_rules", "match": {"name": "Front desk"}}
    sandbox.control("POST", "state/patch", rule | {"set": {"name": "x: {y: 1} # ${z}"}})
    folder = tmp_path / "deep" / "found"
    ended = runbook(sandbox, "discover", "-s", SITE, "--to", str(folder))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "\x1b" not in ended.stdout and "\u202e" not in ended.stdout
    written = {path.name for path in folder.iterdir()}
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {folder / name for name in written}
    assert written == {"ab.yaml", "site-2.yaml", "con.yaml"} or "site.yaml" not in written
    for name in written:
        tenant = yaml.safe_load((folder / name).read_text())["tenant"]
        assert tenant["rules"]["inbound"][0]["name"] == "x: {y: 1} # ${z}"


def test_no_file_is_overwritten_and_what_is_written_can_be_planned(
    sandbox: TestSandbox, tmp_path: Path
) -> None:
    hand = ByHand(sandbox)
    shared = hand.shared("many")
    hand.tenant(1, "One", "one.pbx.example")
    hand.tenant(2, "Two", "two.pbx.example", trunk=shared)
    (tmp_path / "one.yaml").write_text("tenant: {name: mine}\n")
    ended = runbook(sandbox, "discover", "-s", SITE, "--to", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "one.yaml").read_text() == "tenant: {name: mine}\n"
    assert "-tenant: {name: mine}" in ended.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"one.yaml", "one.yaml.discovered", "two.yaml", "site.yaml"}
    again = runbook(sandbox, "discover", "-s", SITE, "--to", str(tmp_path))
    assert again.returncode == 0 and {path.name for path in tmp_path.iterdir()} == names
    os.replace(tmp_path / "one.yaml.discovered", tmp_path / "one.yaml")
    (tmp_path / "secrets").mkdir()
    for name in ("one", "many"):
        (tmp_path / "secrets" / f"sip_password_{name}").write_text("By-Hand-Passw0rd\n")
    tenants = [str(tmp_path / name) for name in ("one.yaml", "two.yaml")]
    assert load_all(str(tmp_path / "site.yaml"), tenants, sandbox.root)
    planned = runbook(sandbox, "plan", "-s", str(tmp_path / "site.yaml"), *tenants)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    # What a dial plan lacks stands beside the rows, and changes none of them.
    for tenant in tenants:
        with Runbook.open(tmp_path / "site.yaml", tenant) as opened:
            plan = opened.plan()
        rows = [row for part in plan.slices for row in part.rows]
        assert not {row.action for row in rows} & (CHANGING | STOPPING)
        assert {Why.RINGS_NOWHERE, Why.NO_EMERGENCY_ADDRESS} <= {row.why for row in rows}
        assert opened.cautions
