"""What the test vectors are made of: names of runs, a plan, and who signs with which key."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from runbook_lib.plan import Action, Row
from runbook_lib.statement import NAMESPACE

OLD, SIGNED_RUN, URGENT = "demo/acme/1", "demo/acme/2", "demo/acme/3"
ADOPTED_RUN, BEGUN = "demo/acme/0", "demo/acme/4"
#: In a folder of its own: approved by two people.
TWO = "demo/acme/5"
TARGET = {"target": "sandbox", "site": "demo", "twilio_account": "AC1", "pbx": "sandbox"}
ROWS = (
    Row("5.4", "max concurrent calls", 60, 50, Action.UPDATE),
    Row("5.2", "name", "Zürich", "Zürich", Action.IN_PLACE),
)
#: An identity, its key's seed, and when its line of the allowed signers is valid. The chain is of 2001, so
#: that no verdict depends on the day on which somebody asks for it.
SIGNERS = {
    "pat@desk": (1, ""),
    "al@desk": (2, ' valid-before="20011001"'),
    "lee@desk": (3, ' valid-before="20010101"'),
    "kim@desk": (4, ' valid-after="20150101"'),
    "sam@desk": (5, ""),
    "ann@desk": (6, ""),
}
#: Keys that are in no file of allowed signers.
OTHERS = {"max@desk": (7, ""), "pat@home": (8, "")}


def private_key(folder: Path, name: str) -> Path:
    key = Ed25519PrivateKey.from_private_bytes(bytes([(SIGNERS | OTHERS)[name][0]]) * 32)
    path = folder / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    path.chmod(0o600)
    return path


def signer_line(name: str, valid: str | None = None) -> str:
    """A line of the allowed signers."""
    seed, always = (SIGNERS | OTHERS)[name]
    valid = always if valid is None else valid
    public = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return f"{name}{valid} {public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()}\n"


def fingerprint(name: str) -> str:
    blob = base64.b64decode(signer_line(name).split()[-1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def signature_by(keys: Path, name: str, message: bytes, namespace: str = NAMESPACE) -> bytes:
    """A signature."""
    command = ["ssh-keygen", "-Y", "sign", "-f", str(private_key(keys, name)), "-n", namespace]
    return subprocess.run(command, input=message, capture_output=True, check=True).stdout
