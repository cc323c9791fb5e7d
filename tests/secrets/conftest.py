"""Canaries: secrets of every kind, new for every test, and the only ones that the sandbox accepts."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from runbook_lib.secret import SecretFilter, find_secrets
from runbook_sandbox.demo import API_KEY_SID
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
    status: int = 403
    requests: int = 0
    url: str = ""

    @contextmanager
    def serving(self) -> Iterator[None]:
        with httpx.Client(verify=False, timeout=30) as client, self._server(client) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield
            server.shutdown()

    def _server(self, client: httpx.Client) -> ThreadingHTTPServer:
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
                    content = {"code": 20403, "message": message, "status": proxy.status, "more_info": ""}
                    content["errors"] = [{"code": "NOT_ALLOWED", "message": message, "detail": seen}]
                    self.reply(proxy.status, json.dumps(content).encode(), "application/json")
                    return
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
                answer = client.request(self.command, proxy.target + self.path, content=body, headers=headers)
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

            # Small answers in two parts would wait for each other's acknowledgement.
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            do_GET = do_POST = do_DELETE = do_PUT = answer

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@dataclass
class Canaries:
    """A site whose secrets are canaries, the processes that run on it, and the search for what got out."""

    sandbox: TestSandbox
    folder: Path
    values: dict[str, str]
    environment: dict[str, str]
    twilio: Proxy
    portsip: Proxy
    references: dict[str, str]
    turn: int

    @property
    def site(self) -> Path:
        return self.folder / "site.yaml"

    @property
    def tenant(self) -> Path:
        return self.folder / "acme.yaml"

    @property
    def sharing_tenant(self) -> Path:
        """A tenant at system level, on the site's shared trunk."""
        return self.folder / "globex.yaml"

    def with_api_key(self) -> None:
        """Let the account be used with an API key, and let the sandbox accept no auth token that we know."""
        site = self.site.read_text(encoding="utf-8")
        key = f"api_key_sid: {API_KEY_SID}\n      api_key_secret: {self.references['twilio_api_key_secret']}"
        token = f"auth_token: {self.references['twilio_auth_token']}"
        assert token in site
        self.site.write_text(site.replace(token, key), encoding="utf-8")
        self.sandbox.control("POST", "credentials", {"twilio_auth_token": secrets.token_hex(16)})

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
        known = SecretFilter(self.values | self.twilio.tokens | self.portsip.tokens)
        contents = dict(self._contents())
        found = [
            f"{name} in {path}"
            for path, content in contents.items()
            for name in find_secrets(path.encode() + b"\n" + content, known)
        ]
        size = sum(map(len, contents.values()))
        return found, {
            "files": len(contents),
            "bytes": size,
            "secrets": len(known.names),
            "found": len(found),
        }

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        """Every file of the records and of the outputs, and every file in a zip among them."""
        for folder in (self.records, self.folder / "out"):
            for path in folder.rglob("*"):
                if path.is_file():
                    yield str(path.relative_to(folder)), path.read_bytes()
                if path.suffix == ".zip":
                    with zipfile.ZipFile(path) as archive:
                        for name in archive.namelist():
                            yield f"{path.name}/{name}", archive.read(name)


def placed(values: dict[str, str], folder: Path, turn: int) -> tuple[dict[str, str], dict[str, str]]:
    """Put every secret into the environment, a file or the keyring; return references and environment.

    With the next ``turn`` each secret lies in the next kind of place.
    """
    references, environment, keyring = {}, {}, {}
    for number, (name, value) in enumerate(values.items(), start=turn):
        if number % 3 == 0:
            environment[f"CANARY_{name.upper()}"] = value
            references[name] = f"env:CANARY_{name.upper()}"
        elif number % 3 == 1:
            (folder / f"{name}.txt").write_text(value + "\n", encoding="utf-8")
            references[name] = f"file:{folder / name}.txt"
        else:
            keyring[f"canary/{name}"] = value
            references[name] = f"keyring:canary/{name}"
    (folder / "keyring.json").write_text(json.dumps(keyring), encoding="utf-8")
    return references, environment


@pytest.fixture(params=[0])
def canaries(sandbox: TestSandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Canaries]:
    """Canaries; the parameter, if a test gives one, says in which turn the kinds of places are used."""
    mark = secrets.token_hex(8)
    accepted = {
        "twilio_auth_token": secrets.token_hex(16),
        "twilio_api_key_secret": f"Key{mark}Secret0123456789abcdefG",
        "portsip_admin_password": f"Pbx-{mark}{AWKWARD}end",
    }
    ours = {"sip_password_acme": f"Sip0{mark}{AWKWARD}end", "sip_password_shared": f"Sip1{mark}{AWKWARD}end"}
    sandbox.control("POST", "credentials", accepted)
    (tmp_path / "out").mkdir()
    references, places = placed(accepted | ours, tmp_path, request.param)
    for name in ("site", "acme", "globex"):
        text = (sandbox.root / f"parameters/sandbox/{name}.yaml").read_text(encoding="utf-8")
        for secret, reference in references.items():
            text = text.replace(f"file:.sandbox/secrets/{secret}", reference)
        assert ".sandbox" not in text
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    twilio = Proxy(sandbox.urls["twilio_api_url"].rstrip("/"))
    portsip = Proxy(sandbox.urls["portsip_url"].rstrip("/").removesuffix("/api"))
    serving = ExitStack()
    for proxy in (twilio, portsip):
        serving.enter_context(proxy.serving())
    environment = {
        **os.environ,
        **sandbox.environment,
        **places,
        "RUNBOOK_TWILIO_API_URL": twilio.url,
        "RUNBOOK_TWILIO_TRUNKING_URL": twilio.url,
        "RUNBOOK_PORTSIP_URL": portsip.url,
        "PYTHONPATH": str(CHECKOUT),
        "PYTHON_KEYRING_BACKEND": "tests.secrets.keyring_in_file.KeyringInFile",
        "TEST_KEYRING_FILE": str(tmp_path / "keyring.json"),
        "COLUMNS": "100",
    }
    names = {value: name for name, value in (accepted | ours).items()}
    made = Canaries(sandbox, tmp_path, names, environment, twilio, portsip, references, request.param)
    yield made
    for name, number in made.leaks()[1].items():
        request.node.user_properties.append((name, number))
    serving.close()
    sandbox.control("POST", "reset")
