"""``--all``: exactly the site's tenants, or a refusal; never another site's, and never too few."""

from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.errors import InputError
from runbook_lib.parameters import load_all
from runbook_lib.parameters.tenants import tenant_files
from tests.conftest import CHECKOUT, TestSandbox

SITE, TENANT = "site:\n  name: x\n", "tenant:\n  name: x\n"
EXAMPLE = {"example/site.yaml": SITE, "example/dental.yaml": TENANT}


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / "parameters" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize(
    ("files", "site", "expected"),
    [
        pytest.param(
            {"big/site.yaml": SITE, "big/b.yaml": TENANT, "big/a.yml": TENANT, **EXAMPLE},
            "big/site.yaml",
            ["big/a.yml", "big/b.yaml"],
            id="beside it",
        ),
        pytest.param(
            {"big/site.yaml": SITE, "big/tenants/a.yaml": TENANT, "small/site.yaml": SITE},
            "big/site.yaml",
            ["big/tenants/a.yaml"],
            id="below it",
        ),
        pytest.param(
            {"site.yaml": SITE, "a.yaml": TENANT, "small/site.yaml": SITE, "small/b.yaml": TENANT, **EXAMPLE},
            "site.yaml",
            ["a.yaml"],
            id="not those of a site further down",
        ),
        pytest.param(
            {"sites/one.yaml": SITE, "tenants/a.yaml": TENANT, **EXAMPLE},
            "sites/one.yaml",
            ["tenants/a.yaml"],
            id="the only site's, wherever they lie",
        ),
        pytest.param(
            {"big/site.yaml": SITE, "tenants/a.yaml": TENANT, **EXAMPLE},
            "example/site.yaml",
            ["example/dental.yaml"],
            id="the example's are its own",
        ),
        pytest.param(
            {"big/main.yaml": '\ufeff"site" :\n  name: x\n', "big/a.yaml": TENANT},
            "big/main.yaml",
            ["big/a.yaml"],
            id="whatever the site's file is called",
        ),
        pytest.param(
            {
                "big/site.yaml": SITE,
                "big/a.yaml": TENANT,
                "big/.a.yaml": TENANT,
                "big/.ipynb_checkpoints/a-checkpoint.yaml": TENANT,
                "big/a.yaml~": TENANT,
                "big/note.txt": "",
            },
            "big/site.yaml",
            ["big/a.yaml"],
            id="no editors' copies",
        ),
        pytest.param(
            {"big/site.yaml": SITE, "big/a.yaml": "tennant: {}\n", "big/b.yaml": "\x00"},
            "big/site.yaml",
            ["big/a.yaml", "big/b.yaml"],
            id="what cannot be read is not passed over",
        ),
    ],
)
def test_all_are_exactly_the_sites(
    tmp_path: Path, files: dict[str, str], site: str, expected: list[str]
) -> None:
    write(tmp_path, files)
    root = tmp_path.resolve() / "parameters"
    assert tenant_files(root / site, tmp_path) == [root / name for name in expected]
    (tmp_path / "link").symlink_to(tmp_path)
    through_a_link = tmp_path / "link/parameters" / site
    assert tenant_files(through_a_link, tmp_path / "link") == [root / name for name in expected]


def test_a_site_outside_the_workspace_has_the_tenants_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "ws", EXAMPLE)
    write(tmp_path / "other", {"site.yaml": SITE, "a.yaml": TENANT, "deeper/b.yaml": TENANT})
    folder = tmp_path.resolve() / "other/parameters"
    assert tenant_files(folder / "site.yaml", tmp_path / "ws") == [folder / "a.yaml"]


@pytest.mark.parametrize(
    ("files", "site", "named"),
    [
        pytest.param({"big/site.yaml": SITE, **EXAMPLE}, "big/site.yaml", "big/site.yaml", id="none"),
        pytest.param({}, "big/site.yaml", "big/site.yaml", id="no site"),
        pytest.param(
            {"one.yaml": SITE, "two.yaml": SITE, "a.yaml": TENANT}, "one.yaml", "two.yaml", id="two sites"
        ),
        pytest.param(
            {"one/site.yaml": SITE, "one/a.yaml": TENANT, "two/site.yaml": SITE, "b.yaml": TENANT},
            "one/site.yaml",
            "b.yaml",
            id="a tenant of no site",
        ),
    ],
)
def test_what_is_unclear_is_refused(tmp_path: Path, files: dict[str, str], site: str, named: str) -> None:
    write(tmp_path, files)
    with pytest.raises(InputError) as caught:
        tenant_files(tmp_path / "parameters" / site, tmp_path)
    assert str(tmp_path.resolve() / "parameters" / named) in str(caught.value) and caught.value.next_step


OWNER = """tenant:
  name: {name}
  pbx_domain: {name}.pbx.example
  dids: "{did}"
  trunk:
    friendly_name: {friendly}
    termination: {termination}
  termination:
    credentials:
      list_name: {list}
      username: {user}
      password: file:.sandbox/secrets/sip_password_acme
"""
DIFFERENT = {"termination": "{}-pbx", "friendly": "PortSIP {}", "list": "{} users", "user": "{}-user"}


def owners(folder: Path, count: int, **same: str) -> list[Path]:
    """Tenant files that differ in all but ``same``."""
    paths = []
    for number in range(count):
        name = f"many-{number}"
        values = {key: same.get(key, text.format(name)) for key, text in DIFFERENT.items()}
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(OWNER.format(name=name, did=f"1303{number:07}", **values))
    return paths


@pytest.mark.parametrize(
    ("same", "key"),
    [
        ({"friendly": "PortSIP"}, "trunk.friendly_name"),
        ({"list": "users", "user": "one"}, "termination.credentials"),
        ({"termination": "carrier-pbx"}, "shared trunk carrier"),
    ],
    ids=["friendly name", "user name in one list", "a shared trunk's label"],
)
def test_trunks_that_clash_are_refused_together(
    sandbox: TestSandbox, tmp_path: Path, same: dict[str, str], key: str
) -> None:
    paths = owners(tmp_path, 2 if "termination" not in same else 1, **same)
    with pytest.raises(InputError) as caught:
        load_all(CHECKOUT / "parameters/sandbox/site.yaml", paths, sandbox.root, secrets=False)
    assert key in str(caught.value)
    # One list may have several users.
    if "user" in same:
        load_all(
            CHECKOUT / "parameters/sandbox/site.yaml",
            owners(tmp_path, 2, list="users"),
            sandbox.root,
            secrets=False,
        )


def test_one_label_through_two_edges_is_one_trunk(sandbox: TestSandbox, tmp_path: Path) -> None:
    one, other = owners(tmp_path, 2, termination="acme-pbx")
    other.write_text(other.read_text().replace("acme-pbx", "acme-pbx.pstn.tokyo.twilio.com"))
    with pytest.raises(InputError) as caught:
        load_all(CHECKOUT / "parameters/sandbox/site.yaml", [one, other], sandbox.root, secrets=False)
    assert "trunk.termination" in str(caught.value)


def test_an_account_holds_a_hundred_trunks(sandbox: TestSandbox, tmp_path: Path) -> None:
    site = CHECKOUT / "parameters/sandbox/site.yaml"
    paths = owners(tmp_path, 100)
    load_all(site, paths[:99], sandbox.root, secrets=False)  # with the site's shared one
    with pytest.raises(InputError) as caught:
        load_all(site, paths, sandbox.root, secrets=False)
    assert len([problem for problem in caught.value.problems if "twilio_accounts.main" in problem]) == 2
