"""Running the notebooks of tenants headlessly: papermill engine, kernels, runner, pages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .observer import Observer
    from .results import RunResult, SectionResult, TenantResult
    from .runner import run_tenants

__all__ = ["Observer", "RunResult", "SectionResult", "TenantResult", "run_tenants"]

_HOMES = {
    "Observer": "observer",
    "RunResult": "results",
    "SectionResult": "results",
    "TenantResult": "results",
    "run_tenants": "runner",
}


def __getattr__(name: str) -> Any:
    # Papermill loads our engine whenever it is imported, so importing this package must stay cheap.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
