"""Under somebody else's server: a JupyterHub with a base URL, and Airflow."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess

import httpx
from playwright.sync_api import expect, sync_playwright

from tests.deployments.ground import ACME, CHECKOUT, GLOBEX, SITE, Ground, answers, require, run
from tests.notebooks.lab import press_apply

PATIENCE_MS = 90_000
TOKEN = "only-for-this-hub-on-loopback-0123456789"
HUB = """
c.JupyterHub.bind_url = "http://127.0.0.1:{ports[0]}/hubbase/"
c.JupyterHub.hub_port = {ports[1]}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{ports[2]}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.Spawner.cmd = ["{programs}/jupyterhub-singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.notebook_dir = "{folder}/ws"
c.JupyterHub.services = [{{"name": "starter", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{"name": "starter", "services": ["starter"], "scopes": ["admin:users", "admin:servers"]}}
]
"""
DAGS = """
from datetime import datetime

from airflow.providers.papermill.operators.papermill import PapermillOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

RUNBOOK = "{runbook} --workspace {ws}"
with DAG("apply", start_date=datetime(2026, 1, 1), schedule=None):
    BashOperator(task_id="it", bash_command=RUNBOOK + " apply -s {site} {acme} --ticket '{{{{ run_id }}}}'")
with DAG("plan", start_date=datetime(2026, 1, 1), schedule=None):
    BashOperator(task_id="it", bash_command=RUNBOOK + " plan -s {site} {globex}")
with DAG("plan_or_changes", start_date=datetime(2026, 1, 1), schedule=None):
    BashOperator(task_id="it", bash_command=RUNBOOK + " plan -s {site} {globex} || [ $? -eq 2 ]")
with DAG("wrong_input", start_date=datetime(2026, 1, 1), schedule=None):
    BashOperator(task_id="it", bash_command=RUNBOOK + " plan -s {site} {site} || [ $? -eq 2 ]")
with DAG("papermill", start_date=datetime(2026, 1, 1), schedule=None):
    PapermillOperator(
        task_id="it",
        input_nb="{notebooks}/01_create_sip_trunk.ipynb",
        output_nb="{ws}/out.ipynb",
        kernel_name="runbook",
        parameters={{"site": "{site}", "tenant": "{globex}", "mode": "apply"}},
    )
"""


def hub(ground: Ground) -> None:
    """A user of a hub plans and applies a section in a browser, and opens the record by its link."""
    programs = ground.environment_with("venv", str(ground.wheel), "jupyterhub")
    modules = ground.shared / "npm"
    proxy = modules / "node_modules/.bin/configurable-http-proxy"
    if not proxy.exists():
        npm = ["npm", "install", "--no-fund", "--no-audit", "--loglevel", "error"]
        run([*npm, "--prefix", str(modules), "configurable-http-proxy"])
    command, ws = str(programs / "runbook"), ground.folder / "ws"
    run([command, "init", str(ws), "--sandbox"])
    # As the operator does once: the copies are made before JupyterLab itself would start.
    run([command, "lab", "-s", SITE, ACME, "--", "--version"], ws)
    ports = _free_ports(3)
    values = {"folder": ground.folder, "programs": programs, "proxy": proxy, "ports": ports, "token": TOKEN}
    (ground.folder / "jupyterhub_config.py").write_text(HUB.format(**values))
    log = ground.folder / "hub.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [str(programs / "jupyterhub"), "-f", "jupyterhub_config.py"],
            cwd=ground.folder,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            stdout=output,
            stderr=output,
            text=True,
        )
    base = f"http://127.0.0.1:{ports[0]}/hubbase"
    api = {"base_url": f"{base}/hub/api", "headers": {"Authorization": f"token {TOKEN}"}, "trust_env": False}
    try:
        answers(f"{base}/hub/api/", server, log)
        with httpx.Client(**api, timeout=60) as client:  # type: ignore[arg-type]
            client.post("/users/anna").raise_for_status()
            client.post("/users/anna/server").raise_for_status()
            _apply_in_a_browser(base)
            client.delete("/users/anna/server").raise_for_status()
    finally:
        server.terminate()
        server.wait(60)
        run([command, "sandbox", "--stop"], ws)
    (opening,) = (
        path for path in ws.glob("records/demo/acme/*/opening.json") if (path.parent / "record.json").exists()
    )
    told = json.loads(opening.read_text())
    require(told["workspace"] == str(ws), f"the record names {told['workspace']}")
    names = {(by["kind"], by["name"], by["known"]) for by in told["by"]}
    require(("hub", "anna", "claimed") in names, f"the record names {names}")
    run([command, "records", "verify"], ws)


def _apply_in_a_browser(base: str) -> None:
    notebook = "/hubbase/user/anna/lab/tree/work/demo/acme/01_create_sip_trunk.ipynb"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 5000})
        page.goto(f"{base}/hub/login?next={notebook}", timeout=PATIENCE_MS)
        page.get_by_label("Username:").fill("anna")
        page.get_by_label("Password:").fill("any")
        page.locator("#login_submit").click()
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=PATIENCE_MS)
        expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        expect(page.get_by_text("Section 01 planned: ")).to_be_visible(timeout=PATIENCE_MS)
        press_apply(page)
        expect(page.get_by_text("Section 01: succeeded at").first).to_be_visible(timeout=PATIENCE_MS)
        with page.expect_popup() as opened:
            page.get_by_role("link", name="Page of section 01").click()
        expect(opened.value.get_by_text("Expected result").first).to_be_visible(timeout=PATIENCE_MS)
        browser.close()


def airflow(ground: Ground) -> None:
    """Tasks that call the command, and what PapermillOperator makes of a notebook."""
    programs = ground.environment_with("venv", str(ground.wheel))
    providers = [f"apache-airflow-providers-{name}" for name in ("standard", "papermill")]
    scheduler = ground.environment_with("airflow", "apache-airflow", *providers, pinned=False)
    command, ws = str(programs / "runbook"), ground.folder / "ws"
    run([command, "init", str(ws), "--sandbox"])
    notebooks = run([command, "notebooks"]).stdout.strip()
    kernel = ["-m", "ipykernel", "install", "--name", "runbook", "--prefix", str(scheduler.parent)]
    run([str(programs / "python"), *kernel])
    values = {"runbook": command, "ws": ws, "site": SITE, "acme": ACME, "globex": GLOBEX}
    (home := ground.folder / "home").mkdir()
    (home / "dags").mkdir()
    (home / "dags/runbook.py").write_text(DAGS.format(**values, notebooks=notebooks))
    [drift] = re.findall(r"^```python\n(.*?)^```$", (CHECKOUT / "docs/drift.md").read_text(), re.M | re.S)
    for theirs, ours in (("/opt/runbook/bin/runbook", command), ("/srv/runbook", str(ws))):
        drift = drift.replace(theirs, ours)
    (home / "dags/drift.py").write_text(drift.replace("parameters/site.yaml", SITE))
    environment = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

    def dag(name: str, status: int, **further: str) -> None:
        run([str(scheduler / "airflow"), "dags", "test", name], home, environment | further, status=status)

    run([str(scheduler / "airflow"), "db", "migrate"], home, environment)
    try:
        dag("apply", 0)
        dag("plan", 1)  # there are changes, and Airflow knows success and failure only
        dag("plan_or_changes", 0)
        dag("wrong_input", 1)
        dag("runbook_drift", 0)  # what differs is a result
        dag("papermill", 1)  # a kernel in the folder of the task finds no workspace
        require(not list(ws.glob("records/demo/globex")), "something was written without a workspace")
        dag("papermill", 0, RUNBOOK_WORKSPACE=str(ws))
    finally:
        run([command, "sandbox", "--stop"], ws)
    records = {path.parent: json.loads(path.read_text()) for path in ws.glob("records/demo/*/*/record.json")}
    (whole,) = (folder for folder, record in records.items() if record["tenant"] == "acme")
    (single,) = (folder for folder, record in records.items() if record["tenant"] == "globex")
    require(records[whole]["ticket"].startswith("manual__"), f"its ticket is {records[whole]['ticket']}")
    # What the documentation says of the operator: the record has no notebook and only its own section.
    require(len(list(whole.glob("*.ipynb"))) == 7, "the record of apply has not all notebooks")
    require(not list(single.glob("*.ipynb")), "PapermillOperator's record has a notebook after all")
    run([command, "records", "verify"], ws)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]
    finally:
        for free in sockets:
            free.close()
