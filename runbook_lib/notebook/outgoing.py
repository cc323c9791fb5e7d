"""Everything that a kernel sends passes the filter: streams, results, displays, errors, widgets.

The filter of the process that saves a notebook does not know what only the kernel knows, such as
the tokens of a session, and JupyterLab has no filter at all.
"""

from __future__ import annotations

from typing import Any

from IPython import get_ipython

from ..secret import scrub_data, scrub_log


def filter_kernel_output() -> None:
    """Filter this kernel's messages from now on; outside a kernel, do nothing.

    A secret that a cell prints in two parts can be found only where the parts are joined again.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or isinstance(kernel.session.pack, _Filtered):
        return
    # Every message is packed by the session just before it leaves, from whichever thread.
    kernel.session.pack = _Filtered(kernel.session.pack)
    kernel.log.addFilter(scrub_log)


class _Filtered:
    """A session's packer behind the filter."""

    def __init__(self, pack: Any) -> None:
        self._pack = pack

    def __call__(self, content: Any) -> bytes:
        return self._pack(scrub_data(content))
