"""OpenSSH's signatures: made and checked by ``ssh-keygen -Y``, over bytes and within a namespace."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from tempfile import NamedTemporaryFile

from .errors import InputError, RunbookError
from .lock import own_account, user

DEFAULT_KEY = "~/.ssh/id_ed25519"
PRIVATE_KEY = b"-----BEGIN "
#: Options of a line of allowed signers.
AUTHORITY = re.compile(rb"[\s,]cert-authority[\s,]", re.IGNORECASE)
VALIDITY = re.compile(rb'valid-(?:after|before)="?[0-9Z]*"?,?', re.IGNORECASE)


def sign(message: bytes, key: Path, namespace: str) -> subprocess.CompletedProcess[bytes]:
    """Sign with a private key, or with the public half of one in the agent; the signature is ``stdout``.

    ``ssh-keygen`` asks for a passphrase itself. Raises ``RunbookError`` when it is not there.
    """
    return _run(["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", namespace], message)


def verify(
    message: bytes, signature: Path, allowed_signers: Path, namespace: str, principal: str
) -> subprocess.CompletedProcess[bytes]:
    """Check a signature as one of ``principal``, by the allowed signers and now; fine is status 0."""
    check = ["-f", str(allowed_signers), "-n", namespace, "-s", str(signature), "-I", principal]
    return _run(["ssh-keygen", "-Y", "verify", *check], message)


def principals(signature: Path, allowed_signers: Path, *, at_any_time: bool = False) -> list[str]:
    """Whom the allowed signers name for the key of a signature, on any of their lines.

    ``ssh-keygen`` itself stops at the first line that fits. Lines of certificate authorities do not
    count: whom such a key belongs to is the authority's to say. ``at_any_time``: also lines that are
    not valid now. Raises ``InputError`` for a file that cannot be read.
    """
    try:
        lines = allowed_signers.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            [f"the allowed signers, {allowed_signers}, cannot be read ({error.strerror})"]
        ) from None
    names = []
    with NamedTemporaryFile() as one_line:
        for line in lines:
            if AUTHORITY.search(line):
                continue
            one_line.seek(0)
            one_line.truncate()
            one_line.write((VALIDITY.sub(b"", line) if at_any_time else line) + b"\n")
            one_line.flush()
            find = ["-s", str(signature), "-f", one_line.name]
            found = _run(["ssh-keygen", "-Y", "find-principals", *find])
            if found.returncode == 0:
                names += found.stdout.decode(errors="replace").splitlines()
    return list(dict.fromkeys(names))


def signing_key(message: bytes, signature: Path, namespace: str) -> str | None:
    """Return the fingerprint (``SHA256:…``) of a signature's key; ``None`` for one of another message."""
    check = ["check-novalidate", "-n", namespace, "-s", str(signature)]
    found = _run(["ssh-keygen", "-Y", *check], message)
    return next(iter(_fingerprints(found)), None)


def own_keys() -> set[str]:
    """Return the fingerprints of this user's keys: those below ``~/.ssh`` and in the agent."""
    found = _fingerprints(_run(["ssh-add", "-l", "-E", "sha256"]))
    # The account's home as well: HOME is the operator's to change.
    homes = {os.path.expanduser("~"), *([account.pw_dir] if (account := own_account()) else [])}
    folders = {Path(home) / ".ssh" for home in homes}
    for path in (one for folder in folders if folder.is_dir() for one in sorted(folder.rglob("*"))):
        if path.is_file() and (path.suffix == ".pub" or path.read_bytes().startswith(PRIVATE_KEY)):
            found |= _fingerprints(_run(["ssh-keygen", "-l", "-E", "sha256", "-f", str(path)]))
    return found


def last_line(output: bytes) -> str:
    """Return the last line of what a command printed: the reason, when it failed."""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"


def _fingerprints(answer: subprocess.CompletedProcess[bytes]) -> set[str]:
    if answer.returncode != 0:
        return set()
    return set(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", answer.stdout.decode(errors="replace")))


def _run(command: list[str], message: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    if own_account() is None:
        # OpenSSH would fail with the same status as for a signature that does not hold.
        raise RunbookError(
            f"OpenSSH does not work for {user()}: this account has no entry in the password file",
            meaning="signatures can be neither made nor checked; nothing was sent",
            next_step="give the account an entry, or run this as an account that has one",
        )
    try:
        return subprocess.run(command, input=message, capture_output=True)
    except FileNotFoundError:
        raise RunbookError(
            f"{command[0]} is not there", next_step="install OpenSSH (8.2 or newer) and run again"
        ) from None
