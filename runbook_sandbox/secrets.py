"""The secrets that the sandbox accepts, made once per project and kept in files."""

from __future__ import annotations

import os
import secrets as random
import string
from pathlib import Path

_ALPHABET = string.ascii_letters + string.digits


def ensure_secrets(root: Path) -> dict[str, Path]:
    """Return the secret files below ``root``, made where they are absent.

    An existing file is never overwritten, also not by another process at the same time.
    """
    folder = root / ".sandbox" / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    makers = {
        "twilio_auth_token": lambda: random.token_hex(16),
        "twilio_api_key_secret": lambda: _password(32),
        "twilio_subaccount_auth_token": lambda: random.token_hex(16),
        "twilio_subaccount_api_key_secret": lambda: _password(32),
        "twilio_other_api_key_secret": lambda: _password(32),
        "portsip_admin_password": lambda: _password(20),
        "portsip_tenant_password": lambda: _password(20),
        "sip_password_acme": lambda: _password(24),
        "sip_password_globex": lambda: _password(24),
        "sip_password_shared": lambda: _password(24),
    }
    files = {name: folder / name for name in makers}
    for name, path in files.items():
        if not path.exists():
            _create(path, makers[name]())
    return files


def read_secrets(root: Path) -> dict[str, str]:
    """Return the values of the secret files, by name."""
    return {name: path.read_text(encoding="utf-8").strip() for name, path in ensure_secrets(root).items()}


def _password(length: int) -> str:
    """Return a random password that Twilio's credential rules accept (upper, lower and digit)."""
    while True:
        value = "".join(random.choice(_ALPHABET) for _ in range(length))
        if (
            any(c.isupper() for c in value)
            and any(c.islower() for c in value)
            and any(c.isdigit() for c in value)
        ):
            return value


def _create(path: Path, value: str) -> None:
    """Write a file that appears whole and only if nobody else made it first."""
    temporary = path.with_name(f".{path.name}.{random.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value + "\n")
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass  # another process was first: its value holds
    finally:
        temporary.unlink()
