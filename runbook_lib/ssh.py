"""OpenSSH's signatures: made and checked by ``ssh-keygen -Y``, over bytes and within a namespace."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile

from .errors import InputError, RunbookError
from .lock import own_account, user_name
from .plain_files import MIB, read

DEFAULT_KEY = "~/.ssh/id_ed25519"
PRIVATE_KEY = b"-----BEGIN "
#: Options of a line of allowed signers.
AUTHORITY = re.compile(rb"[\s,]cert-authority[\s,]", re.IGNORECASE)
VALIDITY = re.compile(rb'(valid-(?:after|before)=)"?[0-9Z]*"?', re.IGNORECASE)
#: Replaces a line's own times so that it is always valid; deleting the option would leave its comma.
ALWAYS = {b"valid-after=": b'"19800101"', b"valid-before=": b'"29991231"'}
#: How a list of revoked keys in OpenSSH's own form begins; any other has a public key on each line.
KRL = b"SSHKRL\n\0"


def sign_message(message: bytes, key: Path, namespace: str) -> subprocess.CompletedProcess[bytes]:
    """Sign with a private key, or with the public half of one in the agent; the signature is ``stdout``.

    ``ssh-keygen`` asks for a passphrase itself. Raises ``RunbookError`` if it is not installed.
    """
    return _run(["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", namespace], message)


def verify_signature(
    message: bytes,
    signature: Path,
    allowed_signers: Path,
    namespace: str,
    principal: str,
    *,
    at: datetime | None = None,
    revoked: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Check a signature as one by ``principal``, with the allowed signers; status 0 means valid.

    ``at`` is the time at which the key must have been valid (``None``: now), ``revoked`` a list of keys
    that never count: see ``require_revocations``.
    """
    check = ["-f", str(allowed_signers), "-n", namespace, "-s", str(signature), "-I", principal]
    if at is not None:
        # In local time, as git gives it: OpenSSH before 9.1 does not know the Z of UTC.
        check.append(f"-Overify-time={at.astimezone():%Y%m%d%H%M%S}")
    if revoked is not None:
        check += ["-r", str(revoked)]
    return _run(["ssh-keygen", "-Y", "verify", *check], message)


def verify_ever(
    message: bytes,
    signature: Path,
    allowed_signers: Path,
    namespace: str,
    principal: str,
    *,
    revoked: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Check a signature as one by ``principal``, ignoring the validity times of the allowed signers."""
    with NamedTemporaryFile() as always:
        always.write(_always_valid(_lines(allowed_signers)))
        always.flush()
        return verify_signature(message, signature, Path(always.name), namespace, principal, revoked=revoked)


def require_revocations(path: Path) -> None:
    """Raise ``InputError`` unless a file is a list of revoked keys.

    It was made by ``ssh-keygen -k``, or has a public key on each line. ``ssh-keygen`` considers every
    key revoked if it cannot read the list.
    """
    try:
        content = read(path, MIB)
    except OSError as error:
        raise InputError([f"the revoked keys, {path}, cannot be read ({error.strerror})"]) from None
    if content.startswith(KRL):
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        if not _fingerprints(_run(["ssh-keygen", "-l", "-E", "sha256", "-f", "-"], line + b"\n")):
            raise InputError([f"the revoked keys, {path}: line {number} is not a public key"])


def principals(signature: Path, allowed_signers: Path, *, at_any_time: bool = False) -> list[str]:
    """The names that the allowed signers have for a signature's key, on any of their lines.

    ``ssh-keygen`` itself stops at the first line that matches. Lines of certificate authorities do not
    count, because the authority decides whose such a key is. ``at_any_time``: also lines that are
    not valid now. Raises ``InputError`` for a file that cannot be read.
    """
    found = lines_of(signature, allowed_signers, at_any_time=at_any_time)
    return list(dict.fromkeys(name for _, names in found for name in names))


def lines_of(
    signature: Path, allowed_signers: Path, *, at_any_time: bool = False
) -> list[tuple[bytes, list[str]]]:
    """Return the lines of the allowed signers that have the key of a signature, each with its names.

    As ``principals``.
    """
    found, key = [], _public_key(signature)
    with NamedTemporaryFile() as one_line:
        for line in _lines(allowed_signers):
            if key not in line or AUTHORITY.search(line):
                continue
            one_line.seek(0)
            one_line.truncate()
            one_line.write(_always_valid([line]) if at_any_time else line + b"\n")
            one_line.flush()
            find = ["-s", str(signature), "-f", one_line.name]
            answer = _run(["ssh-keygen", "-Y", "find-principals", *find])
            if answer.returncode == 0:
                found.append((line, answer.stdout.decode(errors="replace").splitlines()))
    return found


def signing_key(message: bytes, signature: Path, namespace: str) -> str | None:
    """Return the fingerprint (``SHA256:…``) of a signature's key; ``None`` for one of another message."""
    check = ["check-novalidate", "-n", namespace, "-s", str(signature)]
    found = _run(["ssh-keygen", "-Y", *check], message)
    return next(iter(_fingerprints(found)), None)


def unusable() -> str:
    """Return why signatures cannot be checked on this machine; empty if they can."""
    if shutil.which("ssh-keygen") is None:
        return "ssh-keygen is not installed"
    return "" if own_account() else "this account has no entry in the password file"


def own_keys() -> set[str]:
    """Return the fingerprints of this user's keys: those below ``~/.ssh`` and in the agent."""
    found = _fingerprints(_run(["ssh-add", "-l", "-E", "sha256"]))
    # The account's home as well, because the operator can change HOME.
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


def _lines(allowed_signers: Path) -> list[bytes]:
    try:
        return allowed_signers.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            [f"the allowed signers, {allowed_signers}, cannot be read ({error.strerror})"]
        ) from None


def _public_key(signature: Path) -> bytes:
    """The key of a signature, as allowed signers have it; empty, which is in every line, if there is none."""
    try:
        content = base64.b64decode(b"".join(read(signature, MIB).splitlines()[1:-1]))
    except (OSError, ValueError):
        content = b""
    length = int.from_bytes(content[10:14])  # after SSHSIG and its version
    return base64.b64encode(content[14 : 14 + length])


def _always_valid(lines: list[bytes]) -> bytes:
    """Lines of allowed signers that are valid at any time."""
    return b"".join(
        VALIDITY.sub(lambda found: found[1] + ALWAYS[found[1].lower()], line) + b"\n" for line in lines
    )


def verified_key(check: subprocess.CompletedProcess[bytes]) -> str | None:
    """Return the fingerprint of the key that ``verify_signature`` found good; ``None`` if it did not."""
    # At the end of the line: a signer's name, which comes before it, is anything that somebody chose.
    found = re.search(rb" key (SHA256:[A-Za-z0-9+/]{43})\s*$", check.stdout)
    return found[1].decode() if found and check.returncode == 0 else None


def _fingerprints(answer: subprocess.CompletedProcess[bytes]) -> set[str]:
    if answer.returncode != 0:
        return set()
    return set(re.findall(r"SHA256:[A-Za-z0-9+/]{43}", answer.stdout.decode(errors="replace")))


def _run(command: list[str], message: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    if own_account() is None:
        # OpenSSH would fail with the same status as for an invalid signature.
        raise RunbookError(
            f"OpenSSH does not work for {user_name()}: this account has no entry in the password file",
            meaning="this account can neither make nor check signatures; nothing was sent",
            next_step="add an entry for the account, or use an account that has one",
        )
    try:
        return subprocess.run(command, input=message, capture_output=True)
    except FileNotFoundError:
        raise RunbookError(
            f"{command[0]} is not installed", next_step="install OpenSSH (8.2 or newer) and run again"
        ) from None
