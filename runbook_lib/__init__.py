"""Runbooks that connect PortSIP PBX tenants to Twilio Elastic SIP Trunking."""

import sys

if sys.platform == "win32":  # locks, signals and protected files are those of Linux and macOS
    raise SystemExit("The runbook runs on Linux and macOS; on Windows, run it inside WSL 2.")

if sys.version_info < (3, 11):  # before anything that an older Python cannot read
    raise SystemExit(
        "The runbook needs Python 3.11 or newer; {} is Python {}.{}.".format(
            sys.executable, *sys.version_info[:2]
        )
    )
