"""What every deployment is tried on: a new folder, this checkout's wheel, commands that must end well."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx

CHECKOUT = Path(__file__).parent.parent.parent
NAME = "portsip-twilio-runbook"
SITE = "parameters/sandbox/site.yaml"
ACME, GLOBEX = "parameters/sandbox/acme.yaml", "parameters/sandbox/globex.yaml"
#: What changes without a run having written: pages made from the records, locks.
NO_EVIDENCE = ("index.html", ".lock")


class Failed(Exception):
    """What was tried did not do what it should; the text says what it did."""


@dataclass(frozen=True)
class Ground:
    """A new folder, and one that all deployments share for what is only fetched."""

    folder: Path
    shared: Path

    @cached_property
    def wheel(self) -> Path:
        """The wheel of this checkout's files, as a release has it."""
        source = self.copy(self.folder / "source")
        self.uv("build", "--wheel", "-o", str(self.folder / "dist"), str(source))
        return next((self.folder / "dist").glob("*.whl"))

    @property
    def pins(self) -> Path:
        """The versions that were tested."""
        return CHECKOUT / "constraints.txt"

    @cached_property
    def tools(self) -> Path:
        """The programs of an environment that has uv and pipx."""
        programs = self.shared / "tools/bin"
        if not (programs / "pipx").exists():
            run([sys.executable, "-m", "venv", "--clear", str(programs.parent)])
            run([str(programs / "pip"), "install", "-q", "uv", "pipx"])
        return programs

    def uv(self, *arguments: str, **environment: str) -> str:
        """Run uv, with a cache that the deployments share; return what it says."""
        cache = {"UV_CACHE_DIR": str(self.shared / "uv-cache")}
        return run([str(self.tools / "uv"), *arguments], environment=cache | environment).stdout

    def environment_with(self, name: str, *packages: str, pinned: bool = True) -> Path:
        """Make an environment with packages; return the folder of its programs."""
        folder = self.folder / name
        self.uv("venv", "-q", "-p", sys.executable, str(folder))
        pins = ["-c", str(self.pins)] if pinned else []
        self.uv("pip", "install", "-q", "-p", str(folder / "bin/python"), *pins, *packages)
        return folder / "bin"

    def copy(self, target: Path) -> Path:
        """Copy the files of this checkout that git knows, without what was set up in it."""
        listed = run(["git", "-C", str(CHECKOUT), "ls-files", "-z"]).stdout
        for name in filter(None, listed.split("\0")):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, target / name, follow_symlinks=False)
        return target


def run(
    command: Sequence[str],
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    status: int = 0,
    bare: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command that must end with a status; ``bare`` gives it these variables and no others."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("RUNBOOK_")
    }
    ended = subprocess.run(
        command,
        cwd=cwd,
        env={**({} if bare else inherited), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        start_new_session=True,  # no terminal
    )
    if ended.returncode != status:
        tail = "\n".join(ended.stdout.splitlines()[-25:])
        raise Failed(f"{' '.join(command)}\nended with {ended.returncode}, not {status}:\n{tail}")
    return ended


def require(holds: bool, what: str) -> None:
    """Raise ``Failed`` unless something holds."""
    if not holds:
        raise Failed(what)


def missing(*programs: str, root: bool = False) -> str:
    """Say what a deployment needs and this machine has not; empty when it has all."""
    absent = [program for program in programs if shutil.which(program) is None]
    if root and os.geteuid() != 0:
        absent.append("root")
    return f"needs {', '.join(absent)}" if absent else ""


def files_below(folder: Path) -> set[Path]:
    """Return the files below a folder, but not what Python compiles."""
    return {path for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file()}


def evidence(records: Path) -> dict[str, str]:
    """Return the digests of what a records folder holds and nothing may change."""
    return {
        path.relative_to(records).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(records.rglob("*"))
        if path.is_file() and not path.name.endswith(NO_EVIDENCE)
    }


def kept(before: Mapping[str, str], records: Path) -> None:
    """Require that what a records folder held before is there, as it was."""
    now = evidence(records)
    lost = [name for name, digest in before.items() if now.get(name) != digest]
    require(bool(before) and not lost, f"lost or changed in {records}: {lost or 'there was nothing'}")


def answers(address: str, process: subprocess.Popen[str], log: Path, ok: Collection[int] = (200,)) -> None:
    """Wait until a server that was started answers."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        require(process.poll() is None, f"the server ended:\n{log.read_text()[-2000:]}")
        try:
            if httpx.get(address, trust_env=False, timeout=10).status_code in ok:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise Failed(f"{address} does not answer:\n{log.read_text()[-2000:]}")
