"""Running the notebooks of tenants headlessly: papermill engine, kernels, runner, pages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import Observer, RunResult, SectionResult, TenantResult, run_tenants

__all__ = ["Observer", "RunResult", "SectionResult", "TenantResult", "run_tenants"]


def __getattr__(name: str) -> Any:
    # Papermill loads our engine whenever it is imported, so importing this package must stay cheap.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".runner", __name__), name)
