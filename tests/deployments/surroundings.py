"""Where nobody sits before the screen: cron's environment, and the image that the Containerfile describes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.deployments.ground import ACME, GLOBEX, SITE, Ground, require, run


def cron(ground: Ground) -> None:
    """A line of a crontab: a bare environment, the root folder, no terminal, output in a file."""
    programs = ground.environment_with("venv", str(ground.wheel))
    (home := ground.folder / "home").mkdir()
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(home), "SHELL": "/bin/sh", "LOGNAME": "root"}
    command, ws = programs / "runbook", ground.folder / "ws"
    log = ground.folder / "cron.log"

    def line(arguments: str, status: int) -> None:
        text = f"{command} --workspace {ws} {arguments} >>{log} 2>&1"
        run(["/bin/sh", "-c", text], Path("/"), bare, status=status, bare=True)

    run([str(command), "init", str(ws), "--sandbox"], Path("/"), bare, bare=True)
    try:
        line(f"plan -s {SITE} {ACME}", 2)
        line(f"apply -s {SITE} {ACME}", 0)
        line(f"plan -s {SITE} {ACME}", 0)
        line(f"verify -s {SITE} {GLOBEX}", 1)
        line("plan --all -s parameters/no-such/site.yaml", 3)
        line("records verify", 0)
        (opening,) = ws.glob("records/demo/acme/*/opening.json")
        require(json.loads(opening.read_text())["workspace"] == str(ws), "the record names another workspace")
        require("\x1b" not in log.read_text(), "control codes of a terminal are in the file")
    finally:
        line("sandbox --stop", 0)


def container(ground: Ground) -> None:
    """The Containerfile, built by buildah and run as uid 12345 with data on volumes.

    Registries of images are not asked: the base image is made of Debian's packages, under the name that the
    Containerfile gives, so its Python is Debian's. buildah runs in a system of its own, without a daemon.
    """
    systems = ground.shared / "systems"
    python = "python3,python3-venv,python-is-python3,ca-certificates"
    for name, packages in (("python", python), ("builder", "buildah,netavark,crun,ca-certificates")):
        _system(systems / name, packages)
    context = ground.copy(ground.folder / "context")
    script = Path(__file__).with_name("container.sh")
    volumes = ground.folder / "volumes"
    limits = [
        argument
        for name, option in (("nofile", "-Hn"), ("nproc", "-Hu"))
        for argument in ("--ulimit", f"{name}={_limit(option)}:{_limit(option)}")
    ]
    run(
        [
            *("unshare", "--mount", "--pid", "--fork", "bash", str(script)),
            *(str(systems), str(context), str(volumes), " ".join(limits)),
        ]
    )
    records = [
        json.loads(path.read_text()) for path in sorted(volumes.glob("records/demo/acme/*/record.json"))
    ]
    require([record["outcome"] for record in records] == ["succeeded"] * 2, "not both runs succeeded")
    for record in records:
        require(record["operator"].startswith("uid 12345@"), f"run by {record['operator']}")
        require(record["workspace"] == "/workspace", f"in {record['workspace']}")


def _system(folder: Path, packages: str) -> None:
    """Make a bare Debian system with packages, once; with the names and certificates of this machine."""
    complete = folder.with_name(f"{folder.name}.complete")
    if not complete.exists():
        subprocess.run(["rm", "-rf", str(folder)], check=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        sites = run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]).stdout.split()
        mirror = next(site for site in sites if site.endswith("/debian"))
        run(["debootstrap", "--variant=minbase", f"--include={packages}", "trixie", str(folder), mirror])
        complete.touch()
    for name in ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt"):
        (folder / name).write_bytes(Path("/", name).read_bytes())


def _limit(option: str) -> str:
    """One of this process's limits: a builder that is no daemon cannot raise them, and tries to."""
    return run(["bash", "-c", f"ulimit {option}"]).stdout.strip()
