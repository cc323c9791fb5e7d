"""What a notebook's cells use: one section, its tables, the apply form, the picture of a call's path.

Names are loaded when first used: the command line imports tables without paying for widgets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diagrams import call_path, outbound_path
    from .discovery import open_discovery
    from .home import open_home
    from .parameter_form import open_parameters
    from .section_page import SectionPage, open_section
    from .tables import Table
    from .tenant_page import open_tenant

_HOMES = {
    "open_discovery": "discovery",
    "open_home": "home",
    "open_parameters": "parameter_form",
    "open_section": "section_page",
    "open_tenant": "tenant_page",
    "SectionPage": "section_page",
    "Table": "tables",
    "call_path": "diagrams",
    "outbound_path": "diagrams",
}

__all__ = [
    "SectionPage",
    "Table",
    "call_path",
    "open_discovery",
    "open_home",
    "open_parameters",
    "open_section",
    "open_tenant",
    "outbound_path",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("open_section", "open_tenant"):
        # The opening cell imports this before it reads the parameters, which may already be missing.
        import_module(".watch", __name__).watch_cells()
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
