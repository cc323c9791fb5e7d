"""As many tenants as wanted, each with numbers, a PBX tenant and a trunk of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import CHECKOUT, TestSandbox

SITE = "parameters/sandbox/site.yaml"
#: One of many tenants with a share of the site's trunk.
_SHARING = """tenant:
  name: t{index}
  pbx_domain: filler-{index}.pbx.example
  dids: "1303{index:07}"
  shared_trunk: carrier
  concurrency: 3
  rules:
    outbound:
      - {{ name: Twilio, number_length: "10", prepend: "+1", caller_id: "+1303{index:07}" }}
    inbound:
      - {{ name: Twilio, dids: "1303{index:07}", extension: "2000" }}
"""


#: A tenant with its share of a trunk.
SHARED = """tenant:
  name: acme
  pbx_domain: acme.pbx.example
  dids: "12025550101-12025550104"
  shared_trunk: {}
  concurrency: 1
"""


def tenant_files(sandbox: TestSandbox, count: int, shared_trunk: str = "") -> list[str]:
    """Files of tenants that do not clash, and that exist at the vendors; on a trunk of the site, if named."""
    sizes = sandbox.control("POST", "scale", {}).json()
    tenants, numbers = sizes["tenants"], sizes["numbers"]
    sandbox.control("POST", "scale", {"tenants": tenants + count, "numbers": numbers + count})
    own_trunk = (CHECKOUT / "parameters" / "sandbox" / "acme.yaml").read_text()
    text = SHARED.format(shared_trunk) if shared_trunk else own_trunk
    folder = sandbox.root / "parameters" / "many"
    folder.mkdir(exist_ok=True)
    for index in range(count):
        own = text.replace("12025550101-12025550104", f"1303{numbers + index:07}")
        own = own.replace("acme.pbx.example", f"filler-{tenants + index}.pbx.example")
        own = own.replace("acme", f"many-{index}").replace(f"sip_password_many-{index}", "sip_password_acme")
        (folder / f"many-{index}.yaml").write_text(own)
    return [f"parameters/many/many-{index}.yaml" for index in range(count)]


def shared_by_many(sandbox: TestSandbox, count: int) -> Path:
    """Write a site with so many tenants that share its trunk, and exist at the vendors; return its file."""
    folder = sandbox.root / "parameters" / "many"
    folder.mkdir()
    site = folder / "site.yaml"
    site.write_text((CHECKOUT / SITE).read_text().replace("name: demo", "name: many"))
    first = len(sandbox.control("GET", "state").json()["portsip"]["tenants"])
    for index in range(first, first + count):
        (folder / f"t{index}.yaml").write_text(_SHARING.format(index=index))
    sandbox.control("POST", "scale", {"tenants": first + count, "numbers": first + count + 40})
    return site


def state_of(sandbox: TestSandbox) -> dict[str, Any]:
    """What the vendors have of such tenants, without ids and times: to compare two ways to the same end."""
    state = sandbox.control("GET", "state").json()
    twilio, portsip = state["twilio"], state["portsip"]
    names = {sid: trunk["friendly_name"] for sid, trunk in twilio["trunks"].items()}
    return {
        "trunks": sorted(
            (trunk["friendly_name"], trunk["domain_name"]) for trunk in twilio["trunks"].values()
        ),
        "origination": sorted(
            (names[url["trunk_sid"]], url["sip_url"], url["priority"], url["weight"], url["enabled"])
            for url in twilio["origination_urls"].values()
        ),
        "credentials": sorted(
            (user["username"], user["password_sha256"]) for user in twilio["credentials"].values()
        ),
        "lists": sorted(
            (kind, row["friendly_name"])
            for kind in ("ip_access_control_lists", "credential_lists")
            for row in twilio[kind].values()
        ),
        "numbers": sorted(
            (row["phone_number"], names.get(row["trunk_sid"] or "")) for row in twilio["numbers"].values()
        ),
        "providers": sorted(
            (row["name"], row["hostname"], row["auth_id"] or "", row["password_sha256"] or "")
            for row in portsip["providers"].values()
        ),
    }
