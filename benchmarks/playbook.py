"""The requests of a run again, as an Ansible playbook of ``uri`` tasks: a host for each tenant, eight forks.

Ansible is installed into an environment of its own, from the same index as everything else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from runbook_sandbox import secrets
from tests.conftest import TestSandbox
from tests.vendor_state import ACCOUNT

from .bare import PASSWORD, Entry, Script, scope_of

FORKS = 8
PACKAGE = "ansible-core>=2.16"
#: As the script, it goes on after a read that was refused.
_READ, _WRITTEN = [200, 204, 400, 403, 404], [200, 201, 202, 204]


def ensure_ansible(folder: Path) -> Path | None:
    """Return the folder with Ansible's commands; ``None``, with a sentence, where it cannot be installed."""
    command = folder / "bin" / "ansible-playbook"
    if not command.exists():
        for arguments in (["venv", str(folder)], ["pip", "install", "-q", PACKAGE]):
            python = sys.executable if arguments[0] == "venv" else str(folder / "bin" / "python")
            done = subprocess.run([python, "-m", *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"Without the playbook: {PACKAGE} cannot be installed ({done.stderr.strip()[-200:]})")
                return None
    return command.parent


def play(sandbox: TestSandbox, scripts: Sequence[tuple[Script, str]], commands: Path, folder: Path) -> None:
    """Send the requests of all scripts; a request that fails ends it."""
    tenants = [f"tenant{number}" for number in range(len(scripts))]
    for name, (script, tenant_id) in zip(tenants, scripts, strict=True):
        (folder / f"{name}.json").write_text(json.dumps(_tasks(sandbox, script, tenant_id)))
    python = f"ansible_python_interpreter={commands / 'python'}"
    (folder / "hosts").write_text("".join(f"{name} ansible_connection=local {python}\n" for name in tenants))
    included = {"ansible.builtin.include_tasks": "{{ inventory_hostname }}.json"}
    play = {"hosts": "all", "gather_facts": False, "strategy": "free", "tasks": [included]}
    (folder / "play.json").write_text(json.dumps([play]))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_PIPELINING": "1",
        "LC_ALL": "C.UTF-8",
    }
    command = [str(commands / "ansible-playbook"), "-i", "hosts", "-f", str(FORKS), "play.json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the playbook failed: {(done.stdout + done.stderr)[-2000:]}")


def _tasks(sandbox: TestSandbox, script: Script, tenant_id: str) -> list[dict[str, Any]]:
    known, urls = secrets.read_secrets(sandbox.root), sandbox.urls
    twilio = {"url_username": ACCOUNT, "url_password": known["twilio_auth_token"], "force_basic_auth": True}
    pbx, trust = urls["portsip_url"].removesuffix("/api"), {"ca_path": urls["ca_file"]}
    credentials = {"username": "admin", "password": known["portsip_admin_password"]}
    sessions = {
        scope: {"Authorization": f"Bearer {_filled(f'{scope}.json.access_token')}"}
        for scope in ("system", "tenant")
    }

    def of_pbx(method: str, path: str, headers: Mapping[str, str], body: Any = None) -> dict[str, Any]:
        content = {"body_format": "json", "body": body} if body is not None else {}
        return {"url": pbx + path, "method": method, "headers": dict(headers), **trust, **content}

    def task(request: Mapping[str, Any], statuses: Sequence[int], register: str = "") -> dict[str, Any]:
        of_task = {"ansible.builtin.uri": {**request, "status_code": list(statuses), "timeout": 60}}
        return {**of_task, **({"register": register} if register else {})}

    tasks = [
        task(of_pbx("POST", "/api/auth/sign_in", {}, credentials), _WRITTEN, scope) for scope in sessions
    ]
    switch = of_pbx("POST", f"/api/tenants/switch?{urlencode({'id': tenant_id})}", sessions["tenant"])
    tasks.append(task(switch, _WRITTEN))
    made, now = iter(script.made), dict[str, str]()
    for number, entry in enumerate(script.requests):
        is_write = entry["method"] != "GET"
        renamed = _renamed(entry, now)
        path = renamed["path"] + (f"?{_query(renamed['query'])}" if renamed["query"] else "")
        if entry["vendor"] == "twilio":
            body = {"body_format": "form-urlencoded", "body": renamed["body"]} if renamed["body"] else {}
            request = {"url": urls["twilio_api_url"] + path, "method": entry["method"], **twilio, **body}
        else:
            request = of_pbx(entry["method"], path, sessions[scope_of(entry)], renamed["body"])
        register = f"made{number}" if is_write else ""
        tasks.append(task(request, _WRITTEN if is_write else _READ, register))
        if is_write and (old := next(made, None)):
            now[old] = _filled(f"{register}.json.sid | default({register}.json.id | default(''))")
    tasks += [task(of_pbx("POST", "/api/auth/sign_out", headers), _WRITTEN) for headers in sessions.values()]
    return tasks


def _filled(expression: str) -> str:
    """What Ansible puts a value in the place of."""
    return "{{ " + expression + " }}"


def _query(query: Mapping[str, str]) -> str:
    """A query in which what Ansible fills in stays as it is."""
    return urlencode(query, safe="{} |()'._")


def _renamed(entry: Entry, now: Mapping[str, str]) -> Entry:
    text = json.dumps(entry).replace('"***"', json.dumps(PASSWORD))
    for old, new in now.items():
        text = text.replace(old, new)
    return json.loads(text)
