"""Canaries: secrets of every kind, new for every test, and the only ones that the sandbox accepts."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from runbook_lib.secret import Filter, find
from tests.conftest import CHECKOUT, TestSandbox

#: Characters that URLs, JSON, HTML and base64 write in different ways, in the secrets that may have them.
AWKWARD = '"/+&<é='


@dataclass
class Proxy:
    """A man in the middle: remembers the tokens that pass, and echoes credentials into errors on demand."""

    target: str
    tokens: dict[str, str] = field(default_factory=dict)
    echo: str = ""
    echo_after: int = 0
    requests: int = 0
    url: str = ""

    def serve(self) -> ThreadingHTTPServer:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.requests += 1
                due = proxy.echo and proxy.requests > proxy.echo_after
                if due and re.search(proxy.echo, f"{self.command} {self.path}"):
                    seen = f"{self.headers.get('Authorization')} sent {body.decode()}"
                    message = f"not allowed: {seen}"
                    content = {"code": 20403, "message": message, "status": 403, "more_info": ""}
                    content["errors"] = [{"code": "NOT_ALLOWED", "message": message, "detail": seen}]
                    self.reply(403, json.dumps(content).encode(), "application/json")
                    return
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                answer = httpx.request(
                    self.command,
                    proxy.target + self.path,
                    content=body,
                    headers=headers,
                    verify=False,
                    timeout=30,
                )
                for kind in ("access", "refresh"):
                    for token in re.findall(rf'"{kind}_token": ?"([^"]+)"', answer.text):
                        proxy.tokens[token] = f"{kind} token"
                self.reply(answer.status_code, answer.content, answer.headers.get("content-type", ""))

            def reply(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

            do_GET = do_POST = do_DELETE = do_PUT = answer

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


@dataclass
class Canaries:
    """A site whose secrets are canaries, the processes that run on it, and the search for what got out."""

    sandbox: TestSandbox
    folder: Path
    values: dict[str, str]
    environment: dict[str, str]
    twilio: Proxy
    portsip: Proxy

    @property
    def site(self) -> Path:
        return self.folder / "site.yaml"

    @property
    def tenant(self) -> Path:
        return self.folder / "acme.yaml"

    @property
    def records(self) -> Path:
        return self.sandbox.root / "records"

    def run(self, module: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command; what it prints is kept beside the records, to be searched with them."""
        start = {"runbook": "from runbook_lib.cli import main; main()"}.get(module)
        command = [sys.executable, *(["-c", start] if start else ["-m", module]), *map(str, arguments)]
        ended = subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, cwd=self.folder
        )
        printed = self.folder / "out" / f"console-{secrets.token_hex(3)}.txt"
        printed.write_text(f"{ended.stdout}\n{ended.stderr}", encoding="utf-8")
        return ended

    def leaks(self) -> tuple[list[str], dict[str, int]]:
        """Search every file of the records and every output; return what was found, and the figures."""
        known = Filter(self.values | self.twilio.tokens | self.portsip.tokens)
        files = [one for folder in (self.records, self.folder / "out") for one in folder.rglob("*")]
        files = [one for one in files if one.is_file()]
        contents = {one: one.read_bytes() for one in files}
        found = [
            f"{name} in {path.name}"
            for path, content in contents.items()
            for name in find(path.name.encode() + b"\n" + content, known)
        ]
        size = sum(map(len, contents.values()))
        return found, {"files": len(files), "bytes": size, "secrets": len(known.names), "found": len(found)}


@pytest.fixture
def canaries(sandbox: TestSandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Canaries]:
    mark = secrets.token_hex(8)
    values = {
        "twilio_auth_token": secrets.token_hex(16),
        "twilio_api_key_secret": f"Key{mark}Secret0123456789abcdefG",
        "portsip_admin_password": f"Pbx-{mark}{AWKWARD}end",
    }
    sip = f"Sip0{mark}{AWKWARD}end"
    sandbox.control("POST", "credentials", values)
    (tmp_path / "out").mkdir()
    (tmp_path / "sip").write_text(sip + "\n", encoding="utf-8")
    (tmp_path / "keyring.json").write_text(json.dumps({"pbx/admin": values["portsip_admin_password"]}))
    site = (sandbox.root / "parameters/sandbox/site.yaml").read_text(encoding="utf-8")
    site = site.replace("file:.sandbox/secrets/twilio_auth_token", "env:CANARY_AUTH_TOKEN")
    site = site.replace("file:.sandbox/secrets/portsip_admin_password", "keyring:pbx/admin")
    (tmp_path / "site.yaml").write_text(site, encoding="utf-8")
    tenant = (sandbox.root / "parameters/sandbox/acme.yaml").read_text(encoding="utf-8")
    tenant = tenant.replace("file:.sandbox/secrets/sip_password_acme", f"file:{tmp_path / 'sip'}")
    (tmp_path / "acme.yaml").write_text(tenant, encoding="utf-8")
    twilio = Proxy(sandbox.urls["twilio_api_url"].rstrip("/"))
    portsip = Proxy(sandbox.urls["portsip_url"].rstrip("/").removesuffix("/api"))
    servers = [twilio.serve(), portsip.serve()]
    environment = {
        **os.environ,
        **sandbox.environment,
        "RUNBOOK_TWILIO_API_URL": twilio.url,
        "RUNBOOK_TWILIO_TRUNKING_URL": twilio.url,
        "RUNBOOK_PORTSIP_URL": portsip.url,
        "PYTHONPATH": str(CHECKOUT),
        "PYTHON_KEYRING_BACKEND": "tests.secrets.keyring_in_file.KeyringInFile",
        "TEST_KEYRING_FILE": str(tmp_path / "keyring.json"),
        "CANARY_AUTH_TOKEN": values["twilio_auth_token"],
        "CANARY_API_KEY_SECRET": values["twilio_api_key_secret"],
        "COLUMNS": "100",
    }
    names = {value: name for name, value in values.items()} | {sip: "sip_password"}
    made = Canaries(sandbox, tmp_path, names, environment, twilio, portsip)
    yield made
    for name, number in made.leaks()[1].items():
        request.node.user_properties.append((name, number))
    for server in servers:
        server.shutdown()
        server.server_close()
    sandbox.control("POST", "reset")
