"""A process of this project's own code, forked from one that has imported everything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..detached import Detached
from ..product import python_path
from ..records.result import RUN_FOLDER
from . import forking


class Forked(Detached):
    """As ``Detached``, for a module with a ``main``; started cold where it cannot be forked."""

    def start(self, arguments: list[str], root: Path, environment: dict[str, str]) -> Any:
        own = {name: value for name, value in os.environ.items() if name != RUN_FOLDER}
        try:
            return forking.start_worker(
                arguments,
                own | {"PYTHONPATH": python_path()} | environment,
                str(root),
                self._output.fileno(),
            )
        except forking.CannotFork:
            return super().start(arguments, root, environment)
