"""Names in the world's scripts: one thing stays one thing, however its accents are written."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from rich.cells import cell_len
from ruamel.yaml import YAML

from runbook_lib.guide import RETIRE, ROLL_BACK
from runbook_lib.keys import Kind, ResourceKey
from runbook_lib.notebook.display import visible
from runbook_lib.notebook.tables import Table
from runbook_lib.parameters.types import Name
from runbook_lib.plan import CHANGING, STOPPING, Action, Row, Slice, deviations
from runbook_lib.runbook import Runbook
from tests.conftest import TestSandbox
from tests.parameters.test_bad_input import changed, problems_of, read
from tests.sections.test_tenant_level import ACME, SITE, run_all
from tests.sections.test_way_back import recorded, state, way_back

#: Each has two forms; of those marked with *, Unicode's composed form is the one with the parts.
NAMES = {
    "Latin": "Büro Ausland",
    "Vietnamese": "Điện thoại quốc tế",
    "Greek": "Τηλέφωνο Αθήνα",
    "Cyrillic": "Мой офис Київ",
    "Hangul": "국제전화 서울",
    "Kana": "ガイド株式会社\u3000田中",
    "Devanagari*": "\u0958लम क्\u200dष",
    "Bengali": "ফোন \u0995\u09cb",
    "Tamil": "\u0b95\u0bca தொலைபேசி",
    "Malayalam": "\u0d15\u0d4a ഫോൺ",
    "Sinhala": "\u0d9a\u0ddc දුරකථන",
    "Kannada": "\u0c95\u0cca ದೂರವಾಣಿ",
    "Myanmar": "\u1026း ဖုန်း",
    "Arabic": "آلو مكتب\u200f",
    "Persian": "می\u200cخواهم آب",
    "Hebrew*": "\ufb2aלום משרד",
    "French": "Accueil\u00a0: siège\u202f!",
    "Emoji": "👨\u200d👩\u200d👧 \U0001fae8 café",
}
COMPOSED = dict(NAMES)
DECOMPOSED = {script: unicodedata.normalize("NFD", name) for script, name in NAMES.items()}
FORMS = {"composed": COMPOSED, "decomposed": DECOMPOSED}
#: The tables of the vendors, and the fields of them, that hold such a name.
HELD = (
    ("twilio", "trunks", "friendly_name"),
    ("twilio", "ip_access_control_lists", "friendly_name"),
    ("twilio", "trunk_ip_access_control_lists", "friendly_name"),
    ("twilio", "credential_lists", "friendly_name"),
    ("portsip", "providers", "name"),
    ("portsip", "inbound_rules", "name"),
    ("portsip", "outbound_rules", "name"),
)


def tenant_with(sandbox: TestSandbox, names: dict[str, str]) -> str:
    """A file of acme's parameters in which everything that has a name has one of these."""
    content = YAML(typ="safe").load(sandbox.root / ACME)
    tenant = content["tenant"]
    tenant["trunk"]["friendly_name"] = names["Hangul"]
    tenant["termination"]["ip_access_control_list"] = {"name": names["Latin"]}
    tenant["termination"]["credentials"]["list_name"] = names["Persian"]
    tenant["pbx_trunk"] = {"name": names["Kana"]}
    scripts = list(names)
    tenant["rules"] = {
        "outbound": [
            {"name": names[script], "number_prefix": f"0{index:02}"} for index, script in enumerate(scripts)
        ],
        "inbound": [
            {"name": names[script], "dids": f"1202555010{index}", "extension": "1001"}
            for index, script in enumerate(scripts[:4], 1)
        ],
    }
    path = sandbox.root / "parameters/sandbox/acme_in_all_scripts.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    return str(path)


def respell(sandbox: TestSandbox, form: str) -> int:
    """Let both vendors hold every name in one form; return how many they hold."""
    held = sandbox.control("GET", "state").json()
    count = 0
    for vendor, table, field in HELD:
        for key, row in held[vendor][table].items():
            if row.get(field) and not row[field].isascii():
                count += 1
                patch = {"vendor": vendor, "kind": table, "id": key}
                name = unicodedata.normalize(form, row[field])
                sandbox.control("POST", "state/patch", patch | {"set": {field: name}})
    return count


def unsettled(tenant: str) -> list[tuple[str, str]]:
    with Runbook.open(SITE, tenant) as book:
        rows = [row for part in book.plan().slices for row in part.rows]
    return [(row.setting, row.action) for row in rows if row.action in CHANGING | STOPPING]


@pytest.mark.parametrize("script", NAMES)
def test_a_name_has_two_forms_and_one_key(script: str) -> None:
    one, other = COMPOSED[script], DECOMPOSED[script]
    assert one != other
    for kind in (Kind.OUTBOUND_RULE, Kind.ACCESS_LIST, Kind.TRUNK):
        keys = [ResourceKey.of(kind, name, ResourceKey.of(Kind.PBX_TRUNK, name)) for name in (one, other)]
        assert len({*keys}) == 1
        assert [key.to_data()["name"] for key in keys] == [one, other]  # as they were written
        assert keys[0] != ResourceKey.of(kind, one)
        assert keys[0] != ResourceKey.of(kind, f"{one}.", ResourceKey.of(Kind.PBX_TRUNK, one))


@pytest.mark.parametrize("script", NAMES)
def test_an_approved_row_is_the_row_with_the_name_in_the_other_form(script: str) -> None:
    def row(name: str, action: Action = Action.CREATE, desired: str | None = None) -> Row:
        return Row("2.2", f"IP access control list {name}", desired or name, None, action)

    approved = Slice("02", (row(COMPOSED[script]),))
    assert deviations(approved, [row(DECOMPOSED[script])]) == []
    assert deviations(approved, [row(DECOMPOSED[script], Action.IN_PLACE)]) == []
    assert len(deviations(approved, [row(DECOMPOSED[script], desired="another")])) == 1


@pytest.mark.parametrize("first", FORMS)
def test_one_thing_stays_one_thing(sandbox: TestSandbox, first: str) -> None:
    """Applied in one form, then asked for and held by the vendors in the other; also without records."""
    [other] = [form for form in FORMS if form != first]
    run_all(tenant=tenant_with(sandbox, FORMS[first]))
    made = sandbox.control("GET", "state").json()
    sandbox.clear_log()
    tenant = tenant_with(sandbox, FORMS[other])
    assert unsettled(tenant) == []
    run_all(tenant=tenant)
    run_all(mode="verify", tenant=tenant)
    tenant = tenant_with(sandbox, FORMS[first])
    assert respell(sandbox, "NFD" if first == "composed" else "NFC") >= len(NAMES) + 8
    shutil.rmtree(sandbox.root / "records")
    assert unsettled(tenant) == []
    run_all(tenant=tenant)
    assert sandbox.writes() == []
    held = sandbox.control("GET", "state").json()
    for vendor, table, _ in HELD:
        assert held[vendor][table].keys() == made[vendor][table].keys()


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("way", [ROLL_BACK, RETIRE])
def test_what_was_made_in_one_form_is_taken_back_in_the_other(
    sandbox: TestSandbox, first: str, way: str
) -> None:
    before = state(sandbox)
    [other] = [form for form in FORMS if form != first]
    with recorded(sandbox, "acme") as folder:
        run_all(tenant=tenant_with(sandbox, FORMS[first]))
    respell(sandbox, "NFD" if first == "composed" else "NFC")
    options = {"record": folder.name} if way == ROLL_BACK else {}
    way_back(way, tenant_with(sandbox, FORMS[other]), **options)
    assert state(sandbox) == before


def test_a_rename_that_changes_letters_is_a_change(sandbox: TestSandbox) -> None:
    run_all(tenant=tenant_with(sandbox, COMPOSED))
    names = COMPOSED | {"Hangul": "국제전화 부산"}
    assert ("friendly name", Action.UPDATE) in unsettled(tenant_with(sandbox, names))


def test_records_have_the_names_as_they_were_written(sandbox: TestSandbox) -> None:
    with recorded(sandbox, "acme") as folder:
        run_all(tenant=tenant_with(sandbox, DECOMPOSED))
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text("utf-8").splitlines()]
    names = {entry["key"]["name"] for entry in journal if entry.get("key")}
    assert {*DECOMPOSED.values()} <= names


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("script", NAMES)
def test_a_name_reads_as_it_was_written(script: str, form: str) -> None:
    """But for direction marks, which move the text around them: they show as their code point."""
    name = FORMS[form][script]
    assert visible(name) == name.replace("\u200f", "⟨U+200F⟩")


@pytest.mark.parametrize(
    "text", ["pay\u200dpal", "a\u200c", "\u200dx", "1\u200c2", "a\u200bb", "\ufeffx", "ж\u200dж", "\uffff"]
)
def test_a_joiner_that_joins_nothing_is_shown(text: str) -> None:
    assert visible(text) != text


@pytest.mark.parametrize("form", FORMS)
def test_columns_of_the_terminal_stay_in_line(form: str) -> None:
    rows = [[name, "|", long] for name in FORMS[form].values() for long in (name, " ".join([name] * 12))]
    lines = Table("Names", ["Name", "Bar", "Long"], rows).text().splitlines()
    bars = {cell_len(line[: line.index("|")]) for line in lines if "|" in line}
    assert len(bars) == 1
    # Lines that a long cell goes on in begin in the same column.
    starts = {cell_len(line) - cell_len(line.lstrip(" ")) for line in lines if line.startswith(" " * 9)}
    assert len(starts) == 1
    assert all(cell_len(line) <= 140 for line in lines)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("script", NAMES)
def test_a_name_of_every_script_is_taken_as_it_is(script: str, form: str) -> None:
    assert TypeAdapter(Name).validate_python(FORMS[form][script]) == FORMS[form][script]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " outer",
        "outer ",
        "\u3000outer",
        "two\nlines",
        "tab\there",
        "bell\x07",
        "delete\x7f",
        "next\x85line",
        "line\u2028separator",
        "paragraph\u2029separator",
        "override\u202etxt.exe",
        "embedding\u202bx",
        "isolate\u2067x\u2069",
        "lone \ud800 surrogate",
        "x" * 65,
        "\U0001fae8" * 65,
    ],
    ids=ascii,
)
def test_a_name_that_would_mislead_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Name).validate_python(name)


def test_two_rules_that_look_the_same_are_one_name(tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [
        {"name": name, "number_prefix": prefix}
        for name, prefix in ((COMPOSED["Latin"], "0"), (DECOMPOSED["Latin"], "1"))
    ]
    tenant = changed(read("acme.yaml"), "tenant.rules", {"outbound": rules})
    [problem] = problems_of(tmp_path, read("site.yaml"), tenant)
    assert "tenant.rules.outbound.1.name" in problem


def test_a_file_of_any_name_is_looked_for(tmp_path: Path) -> None:
    """A path is checked like every other, whatever spaces and joiners it has."""
    site = changed(read("site.yaml"), "site.pbx.ca_file", "株式会社\u3000田中.pem")
    [problem] = problems_of(tmp_path, site, read("acme.yaml"))
    assert "site.pbx.ca_file" in problem
