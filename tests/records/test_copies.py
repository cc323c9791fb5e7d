"""Copies for an audience: what a customer's must not hold, and whether a file is one that was handed out."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from html import unescape
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, unquote

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib.batch import frame
from runbook_lib.cli.records import app
from runbook_lib.guide import RUN_ORDER
from runbook_lib.records.chain import Chain
from runbook_lib.records.customer import customers_copy
from runbook_lib.records.handing import handed_out
from runbook_lib.records.verify import verify_records
from runbook_lib.runbook import Runbook
from runbook_lib.statement import CONFIRMED
from tests.conftest import TestSandbox
from tests.records.conftest import make
from tests.sections.test_tenant_level import SITE

RUN = "demo/acme/20261123T000000Z-aaaaaa"


def cli(records: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "200"})


def texts(data: Any) -> Iterator[str]:
    """Every text in plain data, also in the names of its parts."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from texts(name)
            yield from texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value)
    elif isinstance(data, str):
        yield data


#: Names that a site and its tenants have, and that are words of ours or of the guide as well.
WORDS = {"sandbox", "twilio", "demo"}


def secrets_of_the_site(root: Path, tenant: str) -> set[str]:
    """Every text of the site's file and of the other tenants' that could say whose it is, and numbers."""
    found: set[str] = set()
    for path in (root / "parameters/sandbox").glob("*.yaml"):
        content = YAML(typ="safe").load(path)
        if path.stem == tenant:
            continue
        found |= {text for text in texts(content) if len(text) > 3}
        found |= {number for text in texts(content) for number in re.findall(r"\d{10,}", text)}
    files = (root / "parameters/sandbox").glob("*.yaml")
    keys = {key for path in files for key in keys_of(YAML(typ="safe").load(path))}
    return {text for text in found - keys if text.casefold() not in WORDS}


def everything_in(text: str) -> str:
    """A copy's text, with what is in it under another form: escaped, encoded for a URL, or in base64."""
    plain = unescape(text.replace("<wbr>", "").replace("\\", ""))
    parts = [text, plain, unquote(plain), re.sub(r"<[^>]*>", "", plain)]
    for chunk in re.findall(r"[A-Za-z0-9+/_-]{12,}={0,2}", plain):
        with suppress(ValueError):
            padded = chunk.rstrip("=") + "=" * (-len(chunk.rstrip("=")) % 4)
            parts.append(
                b64decode(padded, b"-_" if set(chunk) & {"-", "_"} else None).decode("utf-8", "replace")
            )
    return "\n".join(parts)


def names_at_the_vendors(records: Path, tenant: str) -> set[str]:
    """Every name, address and id that the records of other tenants have from the vendors."""
    found: set[str] = set()
    for path in records.glob("demo/*/*/journal.jsonl"):
        if path.parent.parent.name != tenant:
            for line in path.read_text().splitlines():
                event = json.loads(line)
                found |= {text for part in ("body", "before", "key") for text in values(event.get(part))}
    return {text for text in found if re.search(r"[A-Z]{2}[0-9a-f]{32}|\d{10}|[.@]|[A-Z].* ", text)}


def values(data: Any) -> Iterator[str]:
    """Every value in plain data that is a text."""
    if isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from values(value)
    elif isinstance(data, str) and len(data) > 3:
        yield data


def test_the_search_finds_what_is_hidden() -> None:
    name = "Globex Logistics"
    hidden = [f'{{"of": "{name}"}}', b64encode(f"of {name}".encode()).decode(), quote(name)]
    hidden += [name.replace("x", "&#120;"), "Glo<wbr>bex Logistics", "<i>Globex</i> <b>Logistics</b>"]
    assert all(name in everything_in(f'<p title="{one}">{one}</p>') for one in hidden)


def keys_of(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            if name != "carrier":
                yield str(name)
            yield from keys_of(value)
    elif isinstance(data, list):
        for value in data:
            yield from keys_of(value)


def test_each_customer_on_a_shared_trunk_gets_nothing_of_the_others(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-4711 for Globex and Initech")
    monkeypatch.setenv("RUNBOOK_REASON", "as agreed with Bob Slydell")
    files = sandbox.root / "parameters/sandbox"
    umbrella = (files / "initech.yaml").read_text().replace("initech", "umbrella")
    for numbers in ("12025550107-12025550108", "12025550107"):
        umbrella = umbrella.replace(numbers, "12025550109")
    (files / "umbrella.yaml").write_text(umbrella)
    records, tenants = sandbox.root / "records", ("globex", "initech", "umbrella")
    for tenant in tenants:
        for number in RUN_ORDER:
            if tenant == "umbrella" and number not in ("02", "05"):
                continue  # its number is no voice number of the account's; the others have rows enough
            with Runbook.open(SITE, str(files / f"{tenant}.yaml"), mode="apply") as runbook:
                runbook.section(number).apply()
    shown = dict.fromkeys(tenants, 0)
    last = {str(entry.run).split("/")[1]: entry.run for entry in Chain(records).entries() if entry.run}
    for entry in Chain(records).entries():
        if entry.event != "closed" or entry.run is None:
            continue
        tenant = entry.run.split("/")[1]
        record = json.loads((records / entry.run / "record.json").read_text())
        forbidden = secrets_of_the_site(sandbox.root, tenant) | {record["operator"], record["ticket"]}
        forbidden |= {record["reason"], "CHG-4711", "Slydell", str(sandbox.root), "file:", ".sandbox"}
        # What the vendors have beside it: other trunks, other numbers.
        forbidden |= set(sandbox.vendors.trunk_sids()) | {"203.0.113"}
        forbidden |= names_at_the_vendors(records, tenant)
        own = set(YAML(typ="safe").load(files / f"{tenant}.yaml")["tenant"]["dids"].split(";"))
        others = [one for one in sandbox.vendors.numbers() if not any(one[-4:] in text for text in own)]
        forbidden |= {*others, *(number.removeprefix("+") for number in others)}
        for ending in ("md", "html"):
            out = tmp_path / f"{entry.run.replace('/', '-')}.{ending}"
            done = cli(records, "export", entry.run, str(out), "--for", "customer")
            assert done.exit_code == 0, done.output
            text = everything_in(out.read_text().replace(frame._STYLE, ""))  # one style for all pages
            found = {one for one in forbidden if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text)}
            assert not found, (entry.run, found)
            assert "(empty)" not in text  # what a change does to calls is said, also where that is nothing
            assert cli(records, "confirm", str(out)).exit_code == 0
            assert not re.search(
                r"<script|<link|<iframe|src=|data:(?!;)", out.read_text().partition("<body>")[2]
            )
            content, changed = out.read_bytes(), tmp_path / "changed"
            if entry.run in last.values():
                entries, random = Chain(records).entries(), Random(7)
                for place in random.sample(range(len(content)), 200):
                    other = bytes([content[place] ^ (1 << random.randrange(8))])
                    changed.write_bytes(content[:place] + other + content[place + 1 :])
                    assert handed_out(records, entries, changed) == [], place
                for shorter in (content[:-1], content[1:], content + b"\n"):
                    changed.write_bytes(shorter)
                    assert handed_out(records, entries, changed) == []
            out.write_bytes(content.replace(b"operator", b"Operator", 1))
            assert cli(records, "confirm", str(out)).exit_code == 1
        shown[tenant] += len(customers_copy(record, tenant, entry.digest).rows)
    assert all(shown.values()), shown
    assert verify_records(records).problems == ()


def test_a_shared_trunks_own_change_is_counted_for_each_tenant(sandbox: TestSandbox, tmp_path: Path) -> None:
    files = sandbox.root / "parameters/sandbox"
    records = sandbox.root / "records"
    for number in ("01", "02", "03", "05"):
        with Runbook.open(SITE, str(files / "globex.yaml"), mode="apply") as runbook:
            runbook.section(number).apply()
    site = tmp_path / "site.yaml"
    name = "        name: Twilio-Shared-Trunk\n"
    site.write_text(
        (files / "site.yaml").read_text().replace(name, f"{name}        max_concurrent_calls: 60\n")
    )
    with Runbook.open(str(site), "trunk:carrier", mode="apply", accept_interruption=True) as runbook:
        runbook.section("05").apply()
    run = f"demo/{runbook.context.owner.name}/{runbook.run_id}"
    out = tmp_path / "copy.md"
    assert cli(records, "export", run, str(out), "--for", "customer", "--tenant", "initech").exit_code == 3
    assert cli(records, "export", run, str(out), "--for", "customer").exit_code == 0  # one tenant is affected
    text = out.read_text().replace("\\", "")
    assert "Change record of globex" in text and "Settings of a shared trunk that changed | 1 |" in text
    assert "60" not in text.partition("What changed")[2]
    [row] = json.loads(cli(records, "list", "--json", "--tenant", "globex").stdout)["runs"][-1:]
    assert row["run"] == run


def test_handing_out_is_an_entry(tmp_path: Path) -> None:
    records = tmp_path / "records"
    make(records, RUN)
    copies = {"a.zip": "auditor", "a.md": "auditor", "a.html": "auditor", "c.md": "customer"}
    for out, audience in copies.items():
        assert cli(records, "export", RUN, str(tmp_path / out), "--for", audience).exit_code == 0
    handed = [entry for entry in Chain(records).entries() if entry.event == "handed-out"]
    told = [json.loads((records / entry.file).read_text()) for entry in handed]
    assert {one["file"]: one["audience"] for one in told} == copies
    assert all(one["by"] and one["at"] and one["run"] == RUN for one in told)
    for out in ("a.zip", "a.md", "a.html", "c.md"):
        assert cli(records, "confirm", str(tmp_path / out)).exit_code == 0
    assert verify_records(records).problems == ()
    # The record was changed since: the copy is ours, and is confirmed with that.
    path = records / RUN / "record.json"
    path.chmod(0o644)
    path.write_text("{}")
    assert cli(records, "confirm", str(tmp_path / "a.md")).exit_code == 1
    # A forged entry's file vouches for nothing.
    event = records / handed[1].file
    event.write_text(event.read_text().replace(told[1]["digest"], "sha256:" + "0" * 64))
    assert cli(records, "confirm", str(tmp_path / "a.md")).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("c.zip", "--for", "customer"),
        ("c.pdf",),
        ("c",),
        ("c.md", "--tenant", "acme"),
        ("c.md", "--for", "nobody"),
    ],
)
def test_a_copy_that_there_is_not(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    records = tmp_path / "records"
    make(records, RUN)
    name, *options = arguments
    assert cli(records, "export", RUN, str(tmp_path / name), *options).exit_code in (2, 3)
    assert not (tmp_path / name).exists()
    assert [entry.event for entry in Chain(records).entries()] == ["opened", "closed"]


@pytest.mark.parametrize("file", ["none.md", "."])
def test_a_file_that_cannot_be_read_is_not_confirmed(tmp_path: Path, file: str) -> None:
    records = tmp_path / "records"
    make(records, RUN)
    assert cli(records, "confirm", str(tmp_path / file)).exit_code == 3


@pytest.mark.parametrize(
    ("how", "said"),
    [(CONFIRMED, "not approved beforehand"), ("claimed", "by a person whom the operator named")],
)
def test_a_click_of_the_operator_is_no_approval(how: str, said: str) -> None:
    record = {"tenant": "acme", "mode": "apply", "approver": {"by": {"who": "pat@desk", "how": how}}}
    assert dict(customers_copy(record, "acme", "sha256:0").facts)["Approval"] == said
