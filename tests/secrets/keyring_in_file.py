"""A keyring backend for the processes of a test: ``PYTHON_KEYRING_BACKEND`` names it, a file holds it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class KeyringInFile(KeyringBackend):
    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        return json.loads(Path(os.environ["TEST_KEYRING_FILE"]).read_text()).get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError("the tests write the file")

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError("the tests write the file")
