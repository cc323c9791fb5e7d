"""Signatures of the chain's head, made and checked by OpenSSH's ``ssh-keygen``.

They lie in ``records/signatures/`` in pairs: ``NNNNNN-XXXXXXXX.head`` (the head) and the same with
``.sig``. A signature vouches for all entries up to its head. It cannot tell that later entries were
taken away together with their signatures: a head that is kept somewhere else can.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .. import ssh
from ..plain_files import SMALL, describe, read, require_plain, write_whole
from .chain import Chain
from .errors import RecordError
from .verify import SIGNATURES, Anchor, Problem, is_head

NAMESPACE = "portsip-twilio-runbook"


def sign_head(records: Path, key: Path) -> Path:
    """Sign the head with an SSH key (its private half, or the public one of a key in the agent).

    Returns the signature's file. ``ssh-keygen`` asks for a passphrase itself. Raises
    ``RecordError`` when there is nothing to sign, or it cannot be signed.
    """
    entries = Chain(records).entries()
    if not entries:
        raise RecordError("there is nothing to sign", next_step="make a record first: runbook apply")
    message = f"{entries[-1].digest}\n".encode()
    signature = ssh.sign(message, key, NAMESPACE)
    if signature.returncode != 0:
        raise RecordError(
            f"ssh-keygen could not sign with {key}: {ssh.last_line(signature.stderr)}",
            next_step="give the private key, or the public one of a key that the SSH agent holds",
        )
    name = f"{entries[-1].seq:06}-{hashlib.sha256(signature.stdout).hexdigest()[:8]}.head"
    head = records / SIGNATURES / name
    path = head.with_name(f"{name}.sig")
    try:
        head.parent.mkdir(exist_ok=True)
        write_whole(head, message)
        write_whole(path, signature.stdout)
    except OSError as error:
        raise RecordError(
            f"the signature cannot be written ({describe(error)})",
            meaning="the head is not signed",
            next_step="make the folder of the signatures writable for this account, and sign again",
        ) from None
    return path


def signed_heads(records: Path, allowed_signers: Path, identity: str) -> tuple[list[Anchor], list[Problem]]:
    """Return the heads that ``identity`` signed, and the files of signatures that do not hold.

    Parameters
    ----------
    allowed_signers
        OpenSSH's file of the keys that may sign, kept where the records are not.
    identity
        Whose signatures count; those of other allowed signers are left alone.
    """
    anchors, problems = [], []
    for head in sorted((records / SIGNATURES).glob("*.head")):
        signature = head.with_name(f"{head.name}.sig")
        name = f"{SIGNATURES}/{head.name}"
        try:
            message = read(head, SMALL)
            require_plain(signature, SMALL)
        except FileNotFoundError:
            problems.append(Problem(f"{name}.sig", "missing"))
            continue
        except OSError as error:
            place = f"{SIGNATURES}/{Path(error.filename).name}"
            problems.append(Problem(place, f"cannot be read ({error.strerror})"))
            continue
        digest = message.decode(errors="replace").strip()
        if not is_head(digest):
            problems.append(Problem(name, "changed: not a head"))
        elif _holds(message, signature, allowed_signers, identity):
            anchors.append(Anchor(digest, f"the head that {identity} signed"))
        elif not any(
            _holds(message, signature, allowed_signers, other)
            for other in ssh.principals(signature, allowed_signers)
        ):
            problems.append(Problem(f"{name}.sig", "not a signature of this head by an allowed signer"))
    if not anchors:
        problems.append(Problem(SIGNATURES, f"missing: no signature by {identity} holds"))
    return anchors, problems


def _holds(message: bytes, signature: Path, allowed_signers: Path, identity: str) -> bool:
    return ssh.verify(message, signature, allowed_signers, NAMESPACE, identity).returncode == 0
