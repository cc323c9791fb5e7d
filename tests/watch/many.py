"""A site of many tenants, set up as the guide says, and changed by hand by people who are known.

Three tenants are set up by the runbook, one with a trunk of its own and two with a share; the others are
copies of them in the sandbox's state, with names, numbers and ids of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.did_pool import DidPool
from tests.conftest import TestSandbox
from tests.test_cli import SITE

PARAMETERS = "parameters/sandbox"
#: Trunks of their own: an account holds 100, and two are there already.
MOST_OWN = 98
#: The first digits of the demo tenants' numbers.
DIGITS = "1202555010"
RULES = {
    "outbound": [{"name": "Out", "number_length": "10", "prepend": "+1", "caller_id": "+12025550101"}],
    "inbound": [{"name": "In", "dids": "12025550101-12025550104", "extension": "1001"}],
}
#: Tables of Twilio whose rows belong to a trunk or one of its lists, by the fields that say so.
OWNED = ("trunk_sid", "sid", "ip_access_control_list_sid", "credential_list_sid")
#: A SID of Twilio's, or an id of the PBX's.
ID = re.compile(r"\b(?:[A-Z]{2}[0-9a-f]{32}|\d{18})\b")
State = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Change:
    """Something that was changed by hand: in which row, what, by whom; and whose step shows it."""

    tenant: str
    step: str
    who: str
    patch: dict[str, Any]


def set_up(sandbox: TestSandbox, own: int, shared: int) -> list[str]:
    """Set tenants up with trunks of their own, every other one without rules, and tenants with a share.

    Returns the paths of their parameter files.
    """
    assert own <= MOST_OWN, "an account holds 100 trunks"
    folder = sandbox.root / PARAMETERS
    acme = yaml.safe_load((folder / "acme.yaml").read_text())
    acme["tenant"]["rules"] = RULES
    (folder / "acme.yaml").write_text(yaml.safe_dump(acme))
    files = [f"{PARAMETERS}/{name}.yaml" for name in ("acme", "initech")]
    sandbox.set_up(SITE, *files)
    state = sandbox.control("GET", "state").json()
    of_acme, of_initech = _rows_of(state, "acme"), _rows_of(state, "initech")
    for number in range(1, own):
        _copy(sandbox, state, of_acme, "acme", number, with_rules=number % 2 == 0)
        files.append(f"{PARAMETERS}/t{number}.yaml")
    for number in range(own, own + shared - 1):
        _copy(sandbox, state, of_initech, "initech", number, with_rules=True)
        files.append(f"{PARAMETERS}/t{number}.yaml")
    sandbox.control("POST", "reset", {"state": state})
    return files


def changes(sandbox: TestSandbox, files: list[str], count: int) -> list[Change]:
    """Return changes of tenants evenly from among all, each by somebody else, at places that take turns."""
    state = sandbox.control("GET", "state").json()
    step = len(files) // count
    chosen = [Path(files[number * step]).stem for number in range(count)]
    return [_change(state, name, number) for number, name in enumerate(chosen)]


def carry_out(sandbox: TestSandbox, wanted: Iterable[Change]) -> None:
    """Make the changes behind the vendors' APIs, as the portal and the console do."""
    for change in wanted:
        sandbox.control("POST", "state/patch", change.patch)


def found(differences: list[dict[str, Any]]) -> set[tuple[str, str, str | None]]:
    """Tenant, step and author of each difference of drift's document."""
    return {
        (one["tenant"], one["step"], one["changed_by"] and one["changed_by"]["who"]) for one in differences
    }


def _change(state: State, name: str, number: int) -> Change:
    """A change of one tenant: at Twilio by a user with a SID, in the PBX by an administrator with a name."""
    rows = _rows_of(state, name)
    places = [*_places(rows)]
    step, vendor, table, what = places[number % len(places)]
    sid, person = f"US{number:032x}", f"admin{number}"
    who = f"user {sid}" if vendor == "twilio" else person
    of_table = rows[vendor][table]
    row = min(of_table, key=lambda key: (of_table[key].get("sip_url", ""), key))
    actor = {"sid": sid, "kind": "user", "name": person, "source": "web", "ip": "192.0.2.7"}
    patch = {"vendor": vendor, "kind": table, "id": row, "actor": actor} | what
    return Change(name, step, who, patch)


def _places(rows: State) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """What can be changed of a tenant's rows: step, vendor, table, and the change."""
    if rows["twilio"]["trunks"]:
        yield "1.1", "twilio", "trunks", {"set": {"friendly_name": "Renamed"}}
        yield "2.2", "twilio", "ip_addresses", {"set": {"cidr_prefix_length": 24}}
        yield "2.3", "twilio", "credentials", {"remove": True}
        yield "3.1", "twilio", "origination_urls", {"set": {"priority": 99}}  # of the first Region
        yield "5.4", "portsip", "providers", {"set": {"concurrency": 7}}
    else:
        yield "5.5", "portsip", "assignees", {"set": {"concurrency": 3}}
    yield "4.1", "twilio", "numbers", {"set": {"trunk_sid": None}}
    if rows["portsip"]["inbound_rules"]:
        yield "6.1", "portsip", "outbound_rules", {"set": {"priority": 7}}
        yield "6.2", "portsip", "inbound_rules", {"remove": True}


def _rows_of(state: State, name: str) -> State:
    """The rows that belong to a tenant alone."""
    twilio, portsip = state["twilio"], state["portsip"]
    domain = f"{name}.pbx.example"
    tenant = next(row["id"] for row in portsip["tenants"].values() if row["domain"] == domain)
    of_pbx = {
        table: {key: row for key, row in rows.items() if tenant in (row.get("tenant_id"), row.get("id"))}
        for table, rows in portsip.items()
        if table in ("tenants", "providers", "assignees", "inbound_rules", "outbound_rules")
    }
    # Acme has trunks of another provider as well.
    domain = f"{name}-pbx.pstn.twilio.com"
    of_pbx["providers"] = {key: row for key, row in of_pbx["providers"].items() if row["hostname"] == domain}
    if of_pbx["providers"]:
        of_pbx["assignees"] = {}
    [pooled] = {**of_pbx["providers"], **of_pbx["assignees"]}.values()
    pool = DidPool.read(pooled["did_numbers"])
    names = ("trunks", "trunk_ip_access_control_lists", "trunk_credential_lists", "origination_urls")
    ours = {row["sid"] for row in twilio["trunks"].values() if row["domain_name"] == domain}
    of_twilio = {
        table: {key: row for key, row in twilio[table].items() if ours & {row["sid"], row.get("trunk_sid")}}
        for table in names
    }
    ours |= {row["sid"] for table in names[1:3] for row in of_twilio[table].values()}
    of_twilio |= {
        table: {
            key: row
            for key, row in twilio[table].items()
            if ours & {row[field] for field in OWNED if field in row}
        }
        for table in ("ip_access_control_lists", "ip_addresses", "credential_lists", "credentials")
    }
    of_twilio["numbers"] = {key: row for key, row in twilio["numbers"].items() if row["phone_number"] in pool}
    return {"twilio": of_twilio, "portsip": of_pbx}


def _copy(
    sandbox: TestSandbox, state: State, rows: State, template: str, number: int, *, with_rules: bool
) -> None:
    """Add a copy of a tenant's rows to the state, and its parameter file to the folder."""
    name, digits = f"t{number}", f"1303{200000 + number}"
    ours = {
        row.get("id") or row.get("sid")
        for tables in rows.values()
        for table in tables.values()
        for row in table.values()
    }

    def own(found: re.Match[str]) -> str:
        if found[0] not in ours:  # a shared trunk, a holiday
            return found[0]
        digest = sha256(f"{number} {found[0]}".encode()).hexdigest()
        return found[0][:2] + digest[:32] if found[0][0].isalpha() else f"9{int(digest, 16) % 10**17:017}"

    text = ID.sub(own, json.dumps(rows))
    copied: State = json.loads(text.replace(DIGITS, digits).replace(template, name))
    for vendor, tables in copied.items():
        for table, added in tables.items():
            if with_rules or "rules" not in table:
                state[vendor][table] |= added
    content = (sandbox.root / PARAMETERS / f"{template}.yaml").read_text()
    data = yaml.safe_load(content.replace(DIGITS, digits).replace(template, name))
    tenant = data["tenant"]
    if not with_rules:
        del tenant["rules"]
    if "termination" in tenant:  # they all have one password
        tenant["termination"]["credentials"]["password"] = f"file:.sandbox/secrets/sip_password_{template}"
    (sandbox.root / PARAMETERS / f"{name}.yaml").write_text(yaml.safe_dump(data))
