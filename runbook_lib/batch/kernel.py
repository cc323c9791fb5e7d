"""``python -m runbook_lib.batch.kernel``: an IPython kernel of a run.

IPython's configuration and startup files are the account's own programs, which may start others. So the
runner's socket is claimed before IPython is imported.
"""

import sys

from .. import asking  # noqa: F401 - takes the socket

if __name__ == "__main__":
    # As ipykernel's own launcher does, where Python has put the folder there; IPython adds it again.
    if not sys.flags.safe_path:
        del sys.path[0]

    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
