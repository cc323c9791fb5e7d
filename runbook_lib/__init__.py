"""Runbooks that connect PortSIP PBX tenants to Twilio Elastic SIP Trunking.

A notebook's cells need one name from it: ``open_section``, ``open_tenant``, ``open_home``,
``open_parameters`` or ``open_discovery``.
"""

import sys

if sys.platform == "win32":  # locks, signals and protected files are those of Linux and macOS
    raise SystemExit("The runbook runs on Linux and macOS; on Windows, run it inside WSL 2.")

if sys.version_info < (3, 11):  # before any code that an older Python cannot parse
    raise SystemExit(
        "The runbook needs Python 3.11 or newer; {} is Python {}.{}.".format(
            sys.executable, *sys.version_info[:2]
        )
    )

__all__ = ["open_discovery", "open_home", "open_parameters", "open_section", "open_tenant"]


def __getattr__(name: str) -> object:
    """Load what a notebook calls on first use: the command does not need it."""
    if name in __all__:
        from . import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
