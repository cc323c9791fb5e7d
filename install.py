"""Set up ``.venv`` with the pinned packages; quick when it is set up already. Needs nothing but Python.

python3 install.py          what the runbook needs
python3 install.py test     and what its tests need
"""

# A Python that is too old has to be able to read this file: it says what is missing.
from __future__ import print_function

import hashlib
import json
import os
import subprocess
import sys

LOWEST = (3, 11)
CHECKOUT = os.path.dirname(os.path.realpath(__file__))
VENV = os.path.join(CHECKOUT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
#: Written last: what the environment was made from and for.
STAMP = os.path.join(VENV, ".ready")
PINS = os.path.join(CHECKOUT, "constraints.txt")
#: Packages for a machine without a network (make wheelhouse).
WHEELHOUSE = os.path.join(CHECKOUT, "wheelhouse")
EXTRAS = {"": ".", "test": ".[test]"}


def main(extra):
    """Make the environment what it should be; return an exit status."""
    if extra not in EXTRAS:
        print(__doc__, file=sys.stderr)
        return 3
    problem = of_another_system() or too_old() or incomplete()
    if problem:
        print(problem, file=sys.stderr)
        return 3
    try:
        return set_up(extra)
    except OSError as error:
        print("{}: {}".format(error.filename or CHECKOUT, error.strerror), file=sys.stderr)
    except subprocess.CalledProcessError:
        advice = "With a network it can be run again; docs/machine.md explains how to install without one."
        print("The packages could not be installed; the reason is above. " + advice, file=sys.stderr)
    return 1


def of_another_system():
    """Say where the runbook runs, on a system where it does not; empty otherwise."""
    if sys.platform != "win32":
        return ""
    return "The runbook runs on Linux and macOS; on Windows, run it inside WSL 2."


def too_old():
    """Say which Python this is when it is older than what the runbook needs; empty otherwise."""
    if sys.version_info >= LOWEST:
        return ""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    names = ["python3.%d" % minor for minor in range(20, LOWEST[1] - 1, -1)]
    newer = [
        name for name in names if any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)
    ]
    advice = (
        "This machine has {0}: make demo PYTHON={0}, or {0} install.py.".format(newer[0])
        if newer
        else "Install a newer one, then name it: make demo PYTHON=python3.12, or python3.12 install.py."
    )
    version = ".".join(map(str, sys.version_info[:3]))
    return "The runbook needs Python {}.{} or newer; {} is Python {}. {}".format(
        LOWEST[0], LOWEST[1], sys.executable, version, advice
    )


def incomplete():
    """Say what a distribution has left out of its Python; empty when nothing that is needed here."""
    try:
        import ensurepip
        import venv

        assert ensurepip and venv
    except ImportError as error:
        return (
            "{} cannot make virtual environments ({}). On Debian and Ubuntu, install python3-venv, "
            "then run this again.".format(sys.executable, error)
        )
    return ""


def set_up(extra):
    """Make or complete the environment, one process at a time; return 0."""
    import fcntl

    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    place = {"checkout": CHECKOUT, "python": [base, list(sys.version_info[:2])]}
    folder = os.open(CHECKOUT, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)  # released with the process
    wanted = dict(place, packages=digest_of_pins())
    found = read_stamp()
    extras = sorted({"", extra}.union(found.get("extras", [])))
    if all(found.get(key) == value for key, value in wanted.items()):
        if extra in found["extras"]:
            return 0
        print("Adding the packages of the {}s ...".format(extra))
    else:
        print("Setting up .venv with the pinned packages: once, for a few minutes ...")
    sys.stdout.flush()
    if any(found.get(key) != value for key, value in place.items()):
        subprocess.check_call([base, "-m", "venv", "--clear", VENV])
    elif os.path.exists(STAMP):
        os.unlink(STAMP)
    source = ["--no-index", "--find-links", WHEELHOUSE] if os.path.isdir(WHEELHOUSE) else []
    for name in extras:
        pip = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", PINS]
        subprocess.check_call(pip + source + ["-e", EXTRAS[name]], cwd=CHECKOUT)
    with open(STAMP, "w") as file:
        json.dump(dict(wanted, extras=extras), file)
    return 0


def read_stamp():
    """Return what the environment was made from; empty when it is not complete or does not work."""
    try:
        with open(STAMP) as file:
            found = json.load(file)
        subprocess.check_call([PYTHON, "-c", ""])
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}


def digest_of_pins():
    """Return a digest of what says which packages are installed."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(CHECKOUT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
