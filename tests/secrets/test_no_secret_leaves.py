"""No secret in any artefact: canaries through whole runs, failures and cells that show them on purpose."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import nbformat
import pytest

from tests.secrets.conftest import Canaries


def runs(canaries: Canaries) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in canaries.records.glob("*/*/*/run.json")]


@pytest.mark.parametrize(
    ("canaries", "credential"), [(0, "auth token"), (2, "API key")], indirect=["canaries"]
)
def test_a_whole_run_and_every_command(canaries: Canaries, credential: str) -> None:
    if credential == "API key":
        canaries.with_api_key()
    where = ("-s", canaries.site, canaries.tenant)
    assert canaries.run("runbook", "validate", canaries.tenant, "-s", canaries.site).returncode == 0
    assert canaries.run("runbook", "plan", *where, "--out", canaries.folder / "out").returncode == 2
    ended = canaries.run("runbook", "apply", *where)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert runs(canaries)[0]["outcome"] == "succeeded"
    (run,) = canaries.records.glob("demo/acme/2*")
    assert canaries.run("runbook", "verify", *where).returncode == 0
    for command in (("list",), ("show", run.name), ("verify",)):
        assert canaries.run("runbook", "records", *command).returncode == 0
    exported = canaries.run("runbook", "records", "export", run.name, canaries.folder / "out" / "record.zip")
    assert exported.returncode == 0 and "not searched for" not in exported.stdout
    assert {"access token", "refresh token"} <= set(canaries.portsip.tokens.values())
    found, figures = canaries.leaks()
    assert found == [] and figures["files"] > 75


def test_a_canary_in_a_zip_is_found(canaries: Canaries) -> None:
    with zipfile.ZipFile(canaries.folder / "out" / "planted.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record/x.txt", json.dumps(list(canaries.values)))
    found, _ = canaries.leaks()
    assert {one.partition(" in ")[0] for one in found} == set(canaries.values.values())


def test_an_export_is_refused_when_the_records_own_secrets_are_in_it(canaries: Canaries) -> None:
    assert canaries.run("runbook", "apply", canaries.tenant, "-s", canaries.site).returncode == 0
    (run,) = canaries.records.glob("demo/acme/2*")
    # The password is what the run's record says in some place, as if the filter had missed it.
    canaries.environment["CANARY_SIP_PASSWORD_ACME"] = "Who we are signed in as"
    out = canaries.folder / "out" / "record.zip"
    refused = canaries.run("runbook", "records", "export", run.name, out)
    assert refused.returncode == 1 and not out.exists()
    assert "env:CANARY_SIP_PASSWORD_ACME in 00_before_you_begin.html" in refused.stderr
    del canaries.environment["CANARY_SIP_PASSWORD_ACME"]
    written = canaries.run("runbook", "records", "export", run.name, out)
    assert written.returncode == 0 and out.exists()
    assert "cannot be resolved here: env:CANARY_SIP_PASSWORD_ACME" in written.stdout


def test_a_wrong_password_of_the_pbx(canaries: Canaries) -> None:
    Path(canaries.environment["TEST_KEYRING_FILE"]).write_text(
        json.dumps({"canary/portsip_admin_password": "Wrong-password-9&/"})
    )
    canaries.values["Wrong-password-9&/"] = "wrong password"
    ended = canaries.run("runbook", "apply", canaries.tenant, "-s", canaries.site)
    assert ended.returncode == 1
    assert canaries.leaks()[0] == []


def test_a_closed_port(canaries: Canaries) -> None:
    ended = canaries.run(
        "runbook",
        "verify",
        canaries.tenant,
        "-s",
        canaries.site,
        RUNBOOK_TWILIO_API_URL="http://127.0.0.1:9",
        RUNBOOK_TWILIO_TRUNKING_URL="http://127.0.0.1:9",
        RUNBOOK_PORTSIP_URL="http://127.0.0.1:9",
    )
    assert ended.returncode == 1
    assert canaries.leaks()[0] == []


@pytest.mark.parametrize(
    ("vendor", "request_"),
    [
        ("twilio", "POST .*/Trunks$"),
        ("twilio", "POST .*/Credentials.json"),
        ("portsip", "POST .*/auth/sign_in"),
        ("portsip", "GET .*/tenants"),
        ("portsip", "POST .*/providers"),
    ],
)
def test_a_vendor_that_repeats_what_it_was_sent(canaries: Canaries, vendor: str, request_: str) -> None:
    getattr(canaries, vendor).echo = request_
    ended = canaries.run("runbook", "apply", canaries.tenant, "-s", canaries.site)
    assert ended.returncode == 1
    assert "not allowed" in ended.stdout + ended.stderr or vendor == "portsip"
    assert canaries.leaks()[0] == []


@pytest.mark.parametrize("number", [23, 60])
@pytest.mark.parametrize("vendor", ["twilio", "portsip"])
def test_a_vendor_that_fails_in_the_middle(canaries: Canaries, vendor: str, number: int) -> None:
    proxy = getattr(canaries, vendor)
    # Whatever comes after so many requests, except for the notebooks' own sign-ins.
    proxy.echo, proxy.echo_after = "^(?!.*auth/)", number
    canaries.run("runbook", "apply", canaries.tenant, "-s", canaries.site)
    assert canaries.leaks()[0] == []


ON_PURPOSE = """
from runbook_lib.secret import resolve
import base64, sys, threading, json
context = section._runbook.context
context.pbx.session.get("/tenant")
token = context.pbx.session._token
password = resolve(context.site.pbx.password, context.root).reveal()
values = [context.sip_password(), password, token.access, token.refresh]
"""
CELLS = [
    "print(values, *values)\nprint(values, file=sys.stderr)",
    "from IPython.display import display, HTML, JSON\n"
    "display(HTML('<b>' + values[0] + '</b>'), JSON({'a': values}), {'x': values})",
    "from ipywidgets import Text, HTML as Html, VBox\nVBox([Text(value=values[0]), Html(value=values[2])])",
    "base64.b64encode(('user:' + values[0]).encode()).decode(), json.dumps(json.dumps(values))",
    "import os; os.system('echo ' + values[2]); values",
    "thread = threading.Thread(target=lambda: 1 / len([]) if print(values) else int(values[2]))\n"
    "thread.start(); thread.join()",
    "raise ValueError(f'refused {values[0]} and {values[2]} and {values[3]}')",
]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_that_shows_them_on_purpose(canaries: Canaries, cell: str) -> None:
    notebook = nbformat.read(canaries.sandbox.root / "notebooks/02_trunk_termination.ipynb", as_version=4)
    index = next(i for i, one in enumerate(notebook.cells) if "open_section(" in one.source)
    added = [nbformat.v4.new_code_cell(ON_PURPOSE), nbformat.v4.new_code_cell(cell)]
    notebook.cells[index + 1 :] = added
    nbformat.write(notebook, canaries.folder / "shows.ipynb")
    output = canaries.folder / "out" / "shows.ipynb"
    ended = canaries.run(
        "papermill",
        *("--engine", "runbook", "--log-output", "--log-level", "DEBUG"),
        *(canaries.folder / "shows.ipynb", output, "-f", canaries.site, "-f", canaries.tenant),
    )
    assert (ended.returncode != 0) == cell.startswith("raise"), ended.stderr
    shown = output.read_text(encoding="utf-8")
    assert "access token of the PBX" in shown and canaries.references["sip_password_acme"] in shown
    assert canaries.leaks()[0] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["-p", "site", '{"site": {"pbx": {"password": "VALUE"}}}'],
        ["-y", '{site: {name: x, pbx: {password: "VALUE"}}, tenant: {name: y}}'],
        ["-y", '{site: {name: x, pbx: {username: "VALUE", nothing: 1}}, tenant: {name: y}}'],
        ["-p", "password", "VALUE"],
        ["-y", '{deep: [{er: {auth_token: "VALUE"}}]}'],
    ],
)
def test_a_value_among_the_parameters_is_refused_before_anything_is_written(
    canaries: Canaries, arguments: list[str]
) -> None:
    value = "Never-resolved-canary-77"
    canaries.values[value] = "value among the parameters"
    output = canaries.folder / "out" / "refused.ipynb"
    source = canaries.sandbox.root / "notebooks/01_create_sip_trunk.ipynb"
    arguments = [re.sub("VALUE", value, one) for one in arguments]
    ended = canaries.run("papermill", "--engine", "runbook", source, output, *arguments)
    assert ended.returncode != 0 and "InputError" in ended.stderr
    assert not output.exists()
    assert canaries.leaks()[0] == []


def test_a_resolved_value_under_an_innocent_name_is_refused(canaries: Canaries) -> None:
    output = canaries.folder / "out" / "refused.ipynb"
    source = canaries.sandbox.root / "notebooks/01_create_sip_trunk.ipynb"
    token = canaries.environment["CANARY_TWILIO_AUTH_TOKEN"]
    files = ("-f", canaries.site, "-f", canaries.tenant)
    ended = canaries.run(
        "papermill", "--engine", "runbook", source, output, *files, "-p", "approved_by", token
    )
    assert ended.returncode != 0 and "env:CANARY_TWILIO_AUTH_TOKEN" in ended.stderr
    assert not output.exists()
    assert canaries.leaks()[0] == []
