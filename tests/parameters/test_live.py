"""A live site never works with the sandbox's tenants, secrets or certificate."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import InputError
from runbook_lib.parameters import load, load_site
from tests.conftest import CHECKOUT
from tests.parameters.test_bad_input import changed, live_site, read

PASSWORD = "tenant.termination.credentials.password"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a live site and a tenant of its own."""
    root = tmp_path / "project"
    shutil.copytree(CHECKOUT / "parameters" / "sandbox", root / "parameters" / "sandbox")
    (root / "parameters" / "bigtel").mkdir()
    (root / ".sandbox" / "secrets").mkdir(parents=True)
    (root / ".sandbox" / "secrets" / "sip_password_acme").write_text("Of-the-sandbox-1")
    for name in ("TOKEN", "ADMIN", "SIP"):
        monkeypatch.setenv(f"RUNBOOK_TEST_{name}", f"Long-Enough-Passw0rd-{name}")
    write(root / "parameters/bigtel/site.yaml", live_site())
    write(root / "parameters/bigtel/acme.yaml", changed(read("acme.yaml"), PASSWORD, "env:RUNBOOK_TEST_SIP"))
    return root


def write(path: Path, content: Any) -> None:
    with path.open("w") as file:
        YAML(typ="safe").dump(content, file)


def refused(root: Path, site: Any, tenant: Any) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(site, tenant, root, secrets=False)
    return caught.value.problems


def test_its_own_files_are_accepted(project: Path) -> None:
    site, tenant = load("parameters/bigtel/site.yaml", "parameters/bigtel/acme.yaml", project)
    assert (site.target, tenant.name) == ("live", "acme")


@pytest.mark.parametrize("name", ["acme", "globex", "initech"])
@pytest.mark.parametrize(
    "spelling", ["relative", "absolute", "dots", "link", "linked folder", "the library's"]
)
def test_a_tenant_of_the_sandbox_is_refused_however_its_path_is_written(
    project: Path, name: str, spelling: str
) -> None:
    own = project / "parameters/bigtel"
    (own / "link.yaml").symlink_to(f"../sandbox/{name}.yaml")
    (own / "folder").symlink_to("../sandbox")
    path: Any = {
        "relative": f"parameters/sandbox/{name}.yaml",
        "absolute": project / "parameters/sandbox" / f"{name}.yaml",
        "dots": f"parameters/bigtel/../../parameters/./sandbox/{name}.yaml",
        "link": own / "link.yaml",
        "linked folder": own / "folder" / f"{name}.yaml",
        "the library's": CHECKOUT / "parameters/sandbox" / f"{name}.yaml",
    }[spelling]
    problems = refused(project, own / "site.yaml", path)
    assert any(": tenant: the sandbox's" in one for one in problems), problems


def test_a_site_file_of_the_sandbox_does_not_become_a_live_one(project: Path) -> None:
    """Every notebook has it as its default."""
    write(project / "parameters/sandbox/site.yaml", live_site())
    for tenant in ("parameters/bigtel/acme.yaml", "trunk:carrier"):
        assert any(
            "site: the sandbox's" in one
            for one in refused(project, project / "parameters/sandbox/site.yaml", tenant)
        )
    with pytest.raises(InputError):
        load_site(project / "parameters/sandbox/site.yaml", project)


@pytest.mark.parametrize(
    "place",
    [
        ".sandbox/secrets/sip_password_acme",
        "../../.sandbox/secrets/sip_password_acme",
        "parameters/../.sandbox/secrets/sip_password_acme",
        "{root}/.sandbox/secrets/sip_password_acme",
        "link",
        "linked/sip_password_acme",
        ".sandbox/secrets/not_there",
    ],
)
@pytest.mark.parametrize("key", ["tenant", "auth_token", "admin", "shared", "ca_file", "allowed_signers"])
def test_a_reference_into_the_sandbox_is_refused_however_it_is_written(
    project: Path, place: str, key: str
) -> None:
    own = project / "parameters/bigtel"
    (own / "link").symlink_to(project / ".sandbox/secrets/sip_password_acme")
    (own / "linked").symlink_to(project / ".sandbox/secrets")
    place = place.format(root=project)
    path, value = {
        "tenant": (PASSWORD, f"file:{place}"),
        "auth_token": ("site.twilio_accounts.main.auth_token", f"file:{place}"),
        "admin": ("site.pbx.password", f"file:{place}"),
        "shared": ("site.shared_trunks.carrier.termination.credentials.password", f"file:{place}"),
        "ca_file": ("site.pbx.ca_file", place),
        "allowed_signers": ("site.policies.allowed_signers", place),
    }[key]
    name = "acme.yaml" if key == "tenant" else "site.yaml"
    write(own / name, changed(YAML(typ="safe").load(own / name), path, value))
    problems = refused(project, own / "site.yaml", own / "acme.yaml")
    assert any(f" {path}: leads into .sandbox/" in one for one in problems), problems


def test_a_sandbox_that_lies_elsewhere_is_found_behind_its_link(project: Path, tmp_path: Path) -> None:
    shutil.move(project / ".sandbox", tmp_path / "state")
    (project / ".sandbox").symlink_to(tmp_path / "state")
    own = project / "parameters/bigtel"
    write(own / "acme.yaml", changed(read("acme.yaml"), PASSWORD, f"file:{tmp_path}/state/secrets/x"))
    assert any(
        "leads into .sandbox/" in one for one in refused(project, own / "site.yaml", own / "acme.yaml")
    )


def test_all_of_it_is_reported_at_once_and_content_is_no_way_round(project: Path) -> None:
    site = changed(live_site(), "site.pbx.password", "file:.sandbox/secrets/portsip_admin_password")
    problems = refused(project, site, read("acme.yaml"))
    assert {one.partition(":")[0] for one in problems} >= {"site.pbx.password", PASSWORD}
    write(project / "parameters/bigtel/site.yaml", site)
    problems = refused(project, "parameters/bigtel/site.yaml", "parameters/sandbox/acme.yaml")
    assert sum("leads into .sandbox/" in one for one in problems) == 2
    assert sum("the sandbox's parameter files" in one for one in problems) == 1


def test_a_sandbox_site_keeps_its_references(project: Path) -> None:
    assert (
        load("parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml", project)[0].target == "sandbox"
    )
    assert os.path.exists(project / ".sandbox/secrets")
