"""``python -m runbook_sandbox``: the sandbox on its own."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from . import process, server


def main() -> int:
    """Serve in the foreground, or become the root's detached sandbox."""
    parser = argparse.ArgumentParser(prog="python -m runbook_sandbox", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path.cwd())
    parser.add_argument("--twilio-port", type=int, default=0)
    parser.add_argument("--portsip-port", type=int, default=0)
    parser.add_argument("--idle-seconds", type=float, default=None)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--foreground", action="store_true", help="print one JSON line when ready, serve until SIGTERM"
    )
    how.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    root = options.root.resolve()
    if options.foreground:
        return server.serve(root, options.twilio_port, options.portsip_port, options.idle_seconds)
    # A second fork: whoever started this has no child to wait for, and none that becomes a zombie.
    if os.fork():
        return 0
    return process.serve_detached(root, options.idle_seconds or process.IDLE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
