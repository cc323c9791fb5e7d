"""Editing a tenant's file: comments stay, only what was edited differs, no secret gets in."""

from __future__ import annotations

import difflib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.errors import InputError
from runbook_lib.parameters import load_all, load_tenant
from runbook_lib.parameters.draft import Draft, FormField, tenant_fields
from runbook_lib.parameters.loading import check_text
from runbook_lib.parameters.schema import field_rows
from tests.conftest import CHECKOUT

EXAMPLE = CHECKOUT / "parameters" / "example"
TENANTS = [path for path in sorted(CHECKOUT.glob("parameters/*/*.yaml")) if path.stem != "site"]
DENTAL = EXAMPLE / "dental.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with the sandbox's parameters."""
    shutil.copytree(CHECKOUT / "parameters", tmp_path / "parameters")
    (tmp_path / "runbook.toml").write_text('format = 1\nmade_with = "1"\n')
    return tmp_path


@pytest.mark.parametrize("path", TENANTS, ids=lambda path: path.stem)
def test_a_file_that_nobody_edited_is_written_byte_by_byte(path: Path) -> None:
    draft = Draft.open(path)
    assert draft.text.encode() == path.read_bytes() and not draft.is_changed and draft.difference == []


def names(fields: tuple[FormField, ...], before: str) -> set[str]:
    found = set()
    for field in fields:
        many = {"texts": "[]", "rows": "[]", "pairs": ".NAME"}.get(field.kind, "")
        found |= {f"{before}.{field.name}"} | names(field.fields, f"{before}.{field.name}{many}")
    return found


def test_the_form_has_every_parameter_of_a_tenant() -> None:
    documented = {
        key.replace("[]", "").removesuffix(".NAME") for key, *_ in field_rows() if key.startswith("tenant.")
    }
    assert {name.replace("[]", "") for name in names(tenant_fields(), "tenant")} >= documented
    by_name = {field.name: field for field in tenant_fields()}
    credentials = {field.name: field for field in by_name["termination"].fields}["credentials"]
    assert [field.kind for field in credentials.fields] == ["text", "text", "reference"]
    assert {field.kind for field in by_name.values()} == {
        "text",
        "group",
        "number",
        "pairs",
        "texts",
        "switch",
    }


EDITS: list[tuple[list[Any], Any]] = [
    (["dids"], "12025550140"),
    (["country"], "US"),
    (["concurrency"], 5),
    (["accept_interruption"], True),
    (["move"], ["+12025550140"]),
    (["pbx_trunk", "max_concurrent_calls"], None),
    (["pbx_trunk", "brand"], "no"),
    (["origination", "transport"], None),
    (["origination", "uris", 1, "weight"], 30),
    (["examples"], {"0100": "none"}),
    (["dialling", "emergency"], []),
    (["termination", "credentials", "password"], "env:SIP_PASSWORD"),
]


@pytest.mark.parametrize(
    "path, value", EDITS, ids=lambda part: ".".join(map(str, part)) if part and isinstance(part, list) else ""
)
def test_one_edit_changes_one_place_and_no_comment(path: list[Any], value: Any, tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    shutil.copy(DENTAL, file)
    draft = Draft.open(file)
    before = draft.values
    draft.set(path, value)
    comments = [line for line in DENTAL.read_text().splitlines() if line.lstrip().startswith("#")]
    assert [line for line in draft.text.splitlines() if line.lstrip().startswith("#")] == comments
    changed = [line for line in draft.difference if line[0] in "+-"]
    assert 1 <= len(changed) <= 3
    draft.save()
    after = Draft.open(file).values
    place: Any = after
    for part in path[:-1]:
        place = place.get(part, {}) if isinstance(place, dict) else place[part]
    assert place.get(path[-1]) == value
    place[path[-1]] = None
    untouched = before
    for part in path[:-1]:
        untouched = untouched.setdefault(part, {}) if isinstance(untouched, dict) else untouched[part]
    untouched[path[-1]] = None
    assert after == before


def test_rows_are_added_and_removed_in_the_style_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    shutil.copy(DENTAL, file)
    draft = Draft.open(file)
    draft.add_row(["origination", "uris"])
    for name, value in (("region", "ie1"), ("priority", 30)):
        draft.set(["origination", "uris", 2, name], value)
    draft.add_row(["rules", "inbound"])
    for name, value in (("name", "Reception"), ("dids", "12025550140"), ("extension", "1001")):
        draft.set(["rules", "inbound", 0, name], value)
    draft.save()
    tenant = load_tenant(file, tmp_path)
    assert [uri.region for uri in tenant.origination.uris] == ["us1", "us2", "ie1"]
    assert tenant.rules and tenant.rules.inbound[0].extension == "1001"
    draft.remove_row(["rules", "inbound"], 0)
    draft.remove_row(["origination", "uris"], 2)
    assert draft.text == DENTAL.read_text()


def test_a_secret_is_never_kept_shown_or_compared(tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    place = ["termination", "credentials", "password"]
    draft = Draft.open(DENTAL)
    with pytest.raises(InputError) as refused:
        draft.set(place, "Hunter2Hunter2")
    assert "Hunter2" not in str(refused.value) and draft.text == DENTAL.read_text()
    file.write_text(DENTAL.read_text().replace("keyring:bigtel-runbook/dental-sip", "Hunter2Hunter2"))
    draft = Draft.open(file)
    draft.set(["termination", "credentials", "username"], "other")
    assert draft.values["termination"]["credentials"]["password"] is None
    assert draft.difference and "Hunter2" not in "".join(draft.difference)


@pytest.mark.parametrize("change", ["edited", "removed", "made"])
def test_a_change_made_meanwhile_is_never_written_over(change: str, tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    if change != "made":
        shutil.copy(DENTAL, file)
    draft = Draft.new(file, "demo", "dental", "dental") if change == "made" else Draft.open(file)
    draft.set(["country"], "US")
    if change == "removed":
        file.unlink()
    else:
        file.write_text("tenant: {}\n")
    before = file.read_bytes() if file.exists() else None
    with pytest.raises(InputError):
        draft.save()
    assert (file.read_bytes() if file.exists() else None) == before
    assert not [path for path in tmp_path.iterdir() if path.name != "dental.yaml"]


def test_a_new_tenant_is_wrong_until_its_own_numbers_are_given(root: Path) -> None:
    site, acme = root / "parameters/sandbox/site.yaml", root / "parameters/sandbox/acme.yaml"
    path = site.parent / "corner-shop.yaml"
    draft = Draft.new(path, "demo", "corner-shop", "dental")
    found = check_text(site, path, draft.text, [acme], root)
    assert {finding.path for finding in found if not finding.is_about_secret} == {("pbx_domain",), ("dids",)}
    draft.set(["pbx_domain"], "corner.pbx.example")
    draft.set(["dids"], "12025550101")
    [clash] = [one for one in check_text(site, path, draft.text, [acme], root, secrets=False)]
    assert "12025550101" in clash.text
    draft.set(["dids"], "12025550190")
    assert check_text(site, path, draft.text, [acme], root, secrets=False) == []
    assert not path.exists()
    draft.save()
    (_, tenant), _ = load_all(site, [path, acme], root, secrets=False)
    assert tenant.name == "corner-shop"


WRONG: list[tuple[list[Any], Any]] = [
    (["name"], "No Name"),
    (["dids"], "+1202"),
    (["concurrency"], "many"),
    (["rules", "outbound", 0, "strip_digits"], 70),
    (["origination", "port"], 0),
    (["country"], "XX"),
    (["twilio_account"], "other"),
    (["termination", "credentials"], None),
    (["pbx_trunk", "transport"], "smoke"),
    (["move"], ["12025550140"]),
    (["dialling", "area_code"], "30"),
]


@pytest.mark.parametrize(
    "path, value", WRONG, ids=lambda part: ".".join(map(str, part)) if isinstance(part, list) else ""
)
def test_what_is_wrong_is_said_in_the_words_of_validate_and_at_its_key(
    path: list[Any], value: Any, root: Path
) -> None:
    site, file = root / "parameters/sandbox/site.yaml", root / "parameters/sandbox/acme.yaml"
    draft = Draft.open(file)
    if 0 in path:
        with pytest.raises(InputError):
            draft.set(path, value)  # there is no row yet
        draft.add_row(path[: path.index(0)])
    draft.set(path, value)
    found = check_text(site, file, draft.text, [], root, secrets=False)
    assert found and file.read_text() != draft.text
    file.write_text(draft.text)
    with pytest.raises(InputError) as refused:
        load_all(site, [file], root, secrets=False)
    assert [finding.text for finding in found] == refused.value.problems
    assert any(list(finding.path[: len(path[:1])]) == path[:1] for finding in found)


def test_a_secret_that_a_reference_replaces_is_not_shown_either(tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    file.write_text(DENTAL.read_text().replace("keyring:bigtel-runbook/dental-sip", "Hunter2Hunter2"))
    draft = Draft.open(file)
    draft.set(["termination", "credentials", "password"], "env:SIP_PASSWORD")
    shown = "".join(draft.difference)
    assert "env:SIP_PASSWORD" in shown and "Hunter2" not in shown


def test_line_ends_of_windows_and_permissions_stay(tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    content = DENTAL.read_bytes().replace(b"\n", b"\r\n")
    for mode in (0o600, 0o660):
        file.write_bytes(content)
        file.chmod(mode)
        draft = Draft.open(file)
        assert not draft.is_changed
        draft.set(["country"], "US")
        draft.save()
        after = file.read_bytes()
        assert file.stat().st_mode & 0o777 == mode
        assert after.count(b"\r") == after.count(b"\n") == after.count(b"\r\n")
        assert set(content.splitlines()) - set(after.splitlines()) == set()


LAYOUTS = {
    "mark": lambda text: "\ufeff" + text,
    "end": lambda text: text + "...\n",
    "no end of line": lambda text: text.rstrip("\n"),
    "four spaces": lambda text: re.sub(
        r"^( *)(- )?", lambda found: 2 * found[1] + (found[2] or ""), text, flags=re.M
    ),
    "windows": lambda text: text.replace("\n", "\r\n"),
    "mixed": lambda text: text.replace("\n", "\r\n", 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_kept(layout: str, tmp_path: Path) -> None:
    """All lines stay byte by byte, but those of what was edited."""
    file = tmp_path / "dental.yaml"
    content = LAYOUTS[layout](DENTAL.read_text()).encode()
    file.write_bytes(content)
    draft = Draft.open(file)
    assert not draft.is_changed and draft.difference == []
    draft.set(["concurrency"], 5)
    draft.set(["origination", "uris", 1, "weight"], 30)
    draft.set(["pbx_trunk", "brand"], "Twilio")
    draft.set(["termination", "ip_acl"], None)
    draft.add_row(["rules", "outbound"])
    draft.set(["rules", "outbound", 0, "name"], "Out")
    values = draft.values
    draft.save()
    before, after = content.splitlines(keepends=True), file.read_bytes().splitlines(keepends=True)
    difference = list(difflib.ndiff(*([line.decode() for line in lines] for lines in (before, after))))
    if layout == "no end of line":
        assert not after[-1].endswith(b"\n")
    gone = [line for line in difference if line[0] == "-"]
    assert [line.strip("- \r\n") for line in gone] == ["{ region: us2, priority: 20, weight: 10 }"]
    added = [line for line in difference if line[0] == "+"]
    assert len(added) == 6 and {line.endswith("\r\n") for line in added} == {layout == "windows"}
    assert Draft.open(file).values == values
    assert values["rules"] == {"outbound": [{"name": "Out"}]} and values["origination"]["uris"][1] == {
        "region": "us2",
        "priority": 10 * 2,
        "weight": 30,
    }


COMMENTED = """tenant:
  move:
    # the front desk
    - one # first
    - two # second
    - three
  rules:
    inbound:
      # about A
      - { name: A } # beside A
      # about B
      - name: B # beside B
        dids: "1" # its number
        # more on B
      # about C
      - { name: C }
    # at the end of the rules
  country: US
"""


def commented(tmp_path: Path) -> Draft:
    file = tmp_path / "a.yaml"
    file.write_text(COMMENTED)
    return Draft.open(file)


def without(*lines: str) -> str:
    return "".join(line for line in COMMENTED.splitlines(keepends=True) if line.strip() not in lines)


def test_a_row_is_removed_with_its_own_comments_and_with_no_other(tmp_path: Path) -> None:
    draft = commented(tmp_path)
    draft.set(["rules", "inbound", 0, "name"], "Z")
    assert draft.text == COMMENTED.replace("{ name: A }", "{ name: Z }")
    draft.set(["rules", "inbound", 0, "name"], "A")
    draft.remove_row(["rules", "inbound"], 1)
    assert draft.text == without("# about B", "- name: B # beside B", 'dids: "1" # its number', "# more on B")
    draft.remove_row(["rules", "inbound"], 0)
    assert [row["name"] for row in draft.values["rules"]["inbound"]] == ["C"]
    assert "# about C\n      - { name: C }" in draft.text and "about A" not in draft.text
    draft.set(["rules", "inbound", 0, "name"], None)  # the first key of a row that has others
    draft.set(["rules", "inbound", 0, "dids"], "2")
    assert '# about C\n      - { dids: "2" }' in draft.text
    draft.save()
    draft.remove_row(["rules", "inbound"], 0)
    assert draft.text.endswith("three\n  country: US\n")


def test_items_take_their_comments_with_them_or_the_change_is_refused(tmp_path: Path) -> None:
    draft = commented(tmp_path)
    draft.set(["move"], ["two", "three"])
    assert draft.text == without("# the front desk", "- one # first")
    draft.set(["move"], ["three", "two", "one"])
    assert draft.text.startswith(
        "tenant:\n  move:\n    - three\n    - two # second\n    # the front desk\n    - one # first\n"
    )
    draft.set(["move"], ["one", "two", "3"])  # one row of them is edited
    assert draft.text == COMMENTED.replace("three", '"3"')
    for unclear in (["eins", "zwei", "three"], ["two", "eins", "three"]):
        before = draft.text
        with pytest.raises(InputError) as refused:
            draft.set(["move"], unclear)
        assert (
            refused.value.next_step and draft.text == before and draft.values["move"] == ["one", "two", "3"]
        )
    draft.set(["move"], None)
    draft.set(["move"], ["one", "two", "three"])
    assert draft.text == COMMENTED  # what is typed again is what there was


def test_a_key_that_is_cleared_and_typed_again_is_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    shutil.copy(DENTAL, file)
    draft, value = Draft.open(file), Draft.open(file).values["dids"]
    draft.set(["dids"], None)
    assert "dids" not in draft.text and "# Numbers with country code" not in draft.text
    draft.set(["dids"], value)
    assert draft.text == DENTAL.read_text()


SECRETS = {
    "plain": "Hunter2Hunter2",
    "single quotes": "'Hunter''2 Hunter2'",
    "double quotes": '"Hunter\\"2\\x48unter2"',
    "block": "|-\n        Hunter2\n        Hunter3",
    "several lines": "Hunter2\n        Hunter3",
    "a list": "[Hunter2, Hunter3]",
}


@pytest.mark.parametrize("written", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_not_shown_however_it_is_written(written: str, tmp_path: Path) -> None:
    file = tmp_path / "dental.yaml"
    file.write_text(DENTAL.read_text().replace("keyring:bigtel-runbook/dental-sip", f"{written} # note"))
    for path, value in ((["username"], "other"), (["password"], "env:SIP_PASSWORD")):
        draft = Draft.open(file)
        draft.set(["termination", "credentials", *path], value)
        assert draft.difference and "unter" not in "".join(draft.difference)
        assert "unter" not in str(draft.values)
        draft.save()
        assert ("unter" in file.read_text()) == (path == ["username"])
