"""Records behind Jupyter's sign-in: who may read what, and what a page may do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import stamina

from runbook_lib import server_extension
from runbook_lib.batch.pages import write_index
from runbook_lib.notebook.served import RECORDS, RECORDS_URL, Served
from runbook_lib.records.run_folder import OPENING
from runbook_lib.server_extension import read_below
from tests.conftest import CHECKOUT
from tests.records.conftest import make

TOKEN = "a-token-of-this-test"
BASE = "/user/anna/"
RUN = "demo/acme/20261123T000000Z-aaaaaa"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one record, what must not be served beside it, and a secret outside."""
    place = tmp_path_factory.mktemp("served")
    records = place / "ws" / "records"
    (place / "ws").mkdir()
    (place / "ws" / "runbook.toml").write_text('format = 1\nmade_with = "1"\nrecords = "records"\n')
    (place / "secret.html").write_text("secret")
    folder = make(records, RUN)
    write_index(records)
    (folder.parent / "link.html").symlink_to(place / "secret.html")
    (folder.parent / "linked").symlink_to(place)
    (folder.parent / "withheld-0").mkdir()
    (folder.parent / "withheld-0" / "index.html").write_text("secret")
    (folder.parent / ".holder").write_text("secret")
    os.mkfifo(folder.parent / "fifo.html")
    return place


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[str]:
    """Jupyter's server as a hub runs it: a token, a base URL, its own policy for all pages."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        *(f"--port={port}", "--no-browser", "--allow-root", f"--IdentityProvider.token={TOKEN}"),
        f"--ServerApp.base_url={BASE}",
        f"--ServerApp.root_dir={place / 'ws'}",
        f"--ServerApp.jpserver_extensions={server_extension.MODULE}=True",
        '--ServerApp.tornado_settings={"headers": {"Content-Security-Policy": "frame-ancestors *"}}',
    ]
    known = {name: value for name, value in os.environ.items() if not name.startswith("RUNBOOK_")}
    with (place / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options],
            env={**known, "PYTHONPATH": str(CHECKOUT), "JUPYTER_NO_CONFIG": "1"},
            stderr=log,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            for attempt in stamina.retry_context(
                on=httpx.TransportError, attempts=None, timeout=60, wait_max=0.5
            ):
                with attempt:
                    httpx.get(f"{address}{BASE}api")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def get(server: str, path: str, token: str | None = TOKEN, method: str = "GET") -> httpx.Response:
    """The answer for a path as it is written, below the place of records; ``..`` is not resolved here."""
    headers = {"Authorization": f"token {token}"} if token else {}
    with httpx.Client() as client:
        request = client.build_request(method, server, headers=headers)
        request.url = request.url.copy_with(raw_path=f"{BASE}runbook/records/{path}".encode())
        return client.send(request)


def test_a_record_is_served_with_a_policy_of_its_own(server: str) -> None:
    listed = get(server, "")
    assert listed.status_code == 200 and "Records" in listed.text
    assert listed.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = listed.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy
    assert "frame-ancestors *" not in policy and "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.replace("style-src 'unsafe-inline'", "")
    assert listed.headers["X-Content-Type-Options"] == "nosniff"
    assert listed.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    opening = get(server, f"{RUN}/{OPENING}")
    assert opening.json()["run"] == RUN
    assert opening.headers["Content-Type"] == "application/json; charset=utf-8"
    assert get(server, f"{RUN}/journal.jsonl").headers["Content-Type"].startswith("text/plain")
    notebook = get(server, f"{RUN}/01_create_sip_trunk.ipynb")
    assert notebook.headers["Content-Disposition"].startswith("attachment")
    head = get(server, "index.html", method="HEAD")
    assert head.status_code == 200 and not head.content


def test_nobody_reads_without_signing_in_and_nobody_writes(server: str) -> None:
    for path in ("", f"{RUN}/{OPENING}", "no-such.html"):
        assert get(server, path, token=None).status_code in (302, 403)
        assert get(server, path, token="wrong").status_code in (302, 403)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert get(server, f"{RUN}/{OPENING}", method=method).status_code in (403, 405)
    assert get(server, f"{RUN}/{OPENING}").status_code == 200


OUTSIDE = (
    "../runbook.toml",
    "demo/../../runbook.toml",
    "%2e%2e/runbook.toml",
    "..%2frunbook.toml",
    "demo%2f..%2f..%2frunbook.toml",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "demo//acme/link.html",
    "demo/acme/link.html",
    "demo/acme/linked/secret.html",
    "demo/acme/withheld-0/index.html",
    "demo/acme/.holder",
    "demo/acme/fifo.html",
    "index.html/",
    "index.html%00.html",
    "%ff%fe",
    "..%5crunbook.toml",
    "demo/acme",
)


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_else_is_served(server: str, path: str) -> None:
    answer = get(server, path)
    if path == "demo/acme":  # a folder has a slash behind it, and this one no page
        assert answer.status_code == 302
        answer = get(server, f"{path}/")
    assert answer.status_code in (400, 404), answer.text
    assert "secret" not in answer.text and "made_with" not in answer.text


def test_no_link_is_followed_even_if_it_comes_late(place: Path) -> None:
    records = place / "ws" / "records"
    assert read_below(records, ["index.html"])
    for parts in (["demo", "acme", "link.html"], ["demo", "acme", "linked", "secret.html"]):
        with pytest.raises(OSError):
            read_below(records, parts)


def test_links_of_a_notebook_lead_to_the_pages_that_are_served(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place / "ws"
    records = root / "records"
    monkeypatch.setenv(RECORDS, str(records))
    monkeypatch.setenv(RECORDS_URL, f"{BASE}runbook/records/")
    monkeypatch.chdir(root)
    served = Served.by_this_kernel()
    assert served.link(records / RUN / "index.html") == f"{BASE}runbook/records/{RUN}/index.html"
    # A notebook is opened by JupyterLab, and what is elsewhere has no page.
    on_disk = Served(root, root, served.records, served.url)
    assert on_disk.link(records / RUN / "a.ipynb") == f"records/{RUN}/a.ipynb"
    assert on_disk.link(root / "runbook.toml") == "runbook.toml"


def test_a_server_outside_of_every_workspace_serves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNBOOK_ROOT", "RUNBOOK_WORKSPACE", RECORDS):
        monkeypatch.delenv(name, raising=False)
    assert server_extension._workspace(tmp_path) is None
