"""The one detached sandbox process of a project root: found, started, ended."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from runbook_lib.errors import SandboxError
from runbook_lib.product import PYTHON, python_path
from runbook_lib.records.versions import source_digest

IDLE_SECONDS = 1800.0
START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


@dataclass(frozen=True)
class RunningSandbox:
    """Where a running sandbox answers."""

    twilio_url: str
    portsip_url: str
    control_url: str
    ca_file: str
    pid: int


def ensure_running(root: Path, idle_seconds: float = IDLE_SECONDS) -> RunningSandbox:
    """Return the sandbox of a project root, started if it is not running.

    Safe when several processes call it at once: the first starts it, the others find it. A state
    file that a killed sandbox left behind is recognised by its health call.

    Raises
    ------
    SandboxError
        It did not start (the message names its log file), or its folder cannot be written.
    """
    folder = root / ".sandbox"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise SandboxError(
            f"the sandbox's folder {folder} cannot be written ({error.strerror})",
            next_step="make it writable for this account",
        ) from None
    running = _usable(root)
    if running is not None:
        return running
    with FileLock(folder / "state.lock"):
        running = _usable(root)
        if running is not None:
            return running
        stop(root)  # one whose certificate is of another time; its state stays
        _state_file(root).unlink(missing_ok=True)
        _start(root, idle_seconds)
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline:
            running = find_running(root)
            if running is not None:
                return running
            time.sleep(0.05)
    raise SandboxError(
        f"the sandbox did not start within {START_WITHIN_S:.0f} seconds",
        next_step=f"read {folder / 'server.log'}",
    )


def _usable(root: Path) -> RunningSandbox | None:
    """Return the running sandbox, unless its loaded certificate is no longer trusted."""
    from . import certificate  # only who starts or uses the sandbox pays for the import

    running = find_running(root)
    return running if running is not None and certificate.is_good(root) else None


def find_running(root: Path) -> RunningSandbox | None:
    """Return the running sandbox of a project root, or ``None``."""
    state = _read_state(root)
    if state is None:
        return None
    try:
        # trust_env off: proxies of the environment do not lead to the loopback interface
        answer = httpx.get(state["control_url"] + "/health", timeout=5, trust_env=False).json()
        if answer["instance"] != state["instance"]:
            return None  # another process has the port now
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
    return RunningSandbox(
        twilio_url=state["twilio_api_url"],
        portsip_url=state["portsip_url"],
        control_url=state["control_url"],
        ca_file=state["ca_file"],
        pid=state["pid"],
    )


def stop(root: Path) -> bool:
    """End the sandbox of a project root; return whether one was running."""
    running = find_running(root)
    if running is None:
        return False
    httpx.post(running.control_url + "/stop", timeout=5, trust_env=False)
    deadline = time.monotonic() + STOP_WITHIN_S
    while _state_file(root).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return True


def is_of_other_source(root: Path) -> bool:
    """Whether a sandbox runs that another version of this package has started."""
    state = _read_state(root)
    return find_running(root) is not None and (state or {}).get("source") != _source()


def restart(root: Path) -> RunningSandbox:
    """End the sandbox and start it with this version; what was made in it stays. Raises ``SandboxError``."""
    stop(root)
    return ensure_running(root)


def serve_detached(root: Path, idle_seconds: float) -> int:
    """Serve in this process as the root's detached sandbox; return the exit status.

    Its state outlives it in ``data.json``, and the state file shows others where it answers.
    """
    from . import server  # the web framework is needed by the process that serves, by no other

    instance: list[str] = []

    def announce(endpoints: dict[str, Any]) -> None:
        instance.append(endpoints["instance"])
        _write_state(root, endpoints)

    try:
        return server.serve(
            root, idle_seconds=idle_seconds, data_file=root / ".sandbox" / "data.json", announce=announce
        )
    finally:
        state = _read_state(root)
        if instance and state and state["instance"] == instance[0]:
            _state_file(root).unlink(missing_ok=True)


def _start(root: Path, idle_seconds: float) -> None:
    command = [*PYTHON, "-m", "runbook_sandbox", "--root", str(root)]
    command += ["--detached", "--idle-seconds", str(idle_seconds)]
    log = os.open(root / ".sandbox" / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # The child forks and ends at once (see __main__), so nobody has to wait for the server.
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=True,
            env=os.environ | {"PYTHONPATH": python_path()},
            cwd=root,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SandboxError(
            f"the sandbox could not be started: {error}", next_step=f"read {root / '.sandbox' / 'server.log'}"
        ) from error
    finally:
        os.close(log)


def _source() -> str:
    return source_digest(Path(__file__).parent)


def _state_file(root: Path) -> Path:
    return root / ".sandbox" / "state.json"


def _read_state(root: Path) -> dict[str, Any] | None:
    try:
        state = json.loads(_state_file(root).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and "control_url" in state and "instance" in state else None


def _write_state(root: Path, endpoints: dict[str, Any]) -> None:
    path = _state_file(root)
    temporary = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({**endpoints, "source": _source()}, file)
    temporary.replace(path)
