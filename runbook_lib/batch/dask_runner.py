"""Tenants on other machines: the workers of a Dask scheduler (the extra ``dask``).

Each worker machine has the runbook, its secrets, and the workspace at the same path. A tenant is never run a
second time by itself: when a worker is lost, Dask would begin its tasks again elsewhere, perhaps while the
lost one still works. So the scheduler remembers what has begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ..errors import InputError
from .task import Ended, Task, carry_out

#: How long a scheduler may take to answer.
PATIENCE_S = 20
BEGUN = "runbook-begun"


class LostWorkerError(RuntimeError):
    """The worker that ran a tenant is gone; how far the tenant came is not known here."""


@contextmanager
def executor_at(address: str) -> Iterator[Executor]:
    """Yield an executor that runs on the workers of a scheduler; ``InputError`` if there is none."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            ["--runner dask://: Dask is not installed"],
            next_step="install the extra: pip install 'portsip-twilio-runbook[dask]', on every machine",
        ) from None
    try:
        client = Client(f"tcp://{address}", timeout=PATIENCE_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            [f"--runner dask://{address}: no scheduler answers ({type(error).__name__})"],
            next_step="start it (dask scheduler), or correct the address; nothing was sent",
        ) from None
    with client, client.get_executor(pure=False, retries=0) as executor:
        yield executor


def carry_out_once(task: Task) -> Ended:
    """Run a tenant on the worker that this is called on; ``LostWorkerError`` if another has begun it."""
    from distributed import get_client

    client: Any = get_client()
    key = [BEGUN, task.run_id]
    if client.get_metadata(key, default=False):
        raise LostWorkerError(task.run_id)
    client.set_metadata(key, True)
    return carry_out(task)
