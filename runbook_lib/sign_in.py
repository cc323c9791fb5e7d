"""An operator signs in to the PBX in advance of the next runs, because the PBX may ask for one-time codes.

A run has a session for the system and one for its tenant, and each asks for its own code:
switching one session back and forth is not documented well enough to rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from .connect import pbx_endpoint, pbx_of
from .parameters import Site
from .records.journal import FILE_NAME, Journal
from .records.result import new_run_id
from .records.waits import Waits
from .secret import scrub_data
from .vendors.budget import pbx_budget
from .vendors.pbx import Pbx
from .vendors.sign_in import SignInGate
from .vendors.transport import Transport
from .workspace import records_folder


def sign_in_each(site: Site, root: Path, domains: Sequence[str], ask: Callable[[], str]) -> Iterator[str]:
    """Sign in for the system and for each tenant's domain; yield what happened, line by line.

    Raises ``SignInError`` when the PBX refuses, or when an earlier refusal is remembered.
    """
    who = site.pbx.username
    yield f"{who}, for the whole PBX:"
    with pbx_alone(site, root, None, ask) as pbx:
        yield _outcome(pbx.system.sign_in())
    for domain in domains:
        yield f"{who}, for the tenant {domain}:"
        with pbx_alone(site, root, domain, ask) as pbx:
            yield _outcome(pbx.session.sign_in())


def clear(site: Site, root: Path) -> Iterator[str]:
    """Forget a refused sign-in and end the kept sessions; yield what happened, line by line."""
    if SignInGate(records_folder(root) / site.name).clear():
        yield "The refused sign-in is forgotten: the next run signs in again."
    else:
        yield "No refused sign-in was remembered."
    with pbx_alone(site, root) as pbx:
        if ended := pbx.sign_out_kept():
            yield f"Signed out: {ended} kept {'session' if ended == 1 else 'sessions'}."


@contextmanager
def pbx_alone(
    site: Site,
    root: Path,
    domain: str | None = None,
    ask: Callable[[], str] | None = None,
    waits: Waits | None = None,
) -> Iterator[Pbx]:
    """Yield a site's PBX for sessions only, without a run; sign out afterwards."""
    url, trust = pbx_endpoint(site, root)
    # Signing in is not a write, so nothing of this journal ever reaches a disk.
    folder = records_folder(root) / site.name / "sign-in" / new_run_id()
    journal = Journal(folder / FILE_NAME, scrub_data, {})
    budget = pbx_budget(url, site.pbx.requests_per_minute, records_folder(root) / site.name)
    with closing(Transport("PortSIP", journal, verify=trust, budget=budget, waits=waits)) as transport:
        pbx = pbx_of(site, root, transport, url, domain=domain, ask=ask)
        try:
            yield pbx
        finally:
            pbx.sign_out()


def _outcome(kept: bool) -> str:
    if kept:
        return "  signed in; the session is kept for the next runs until it expires"
    return "  signed in and out again: the PBX asks for no one-time code, so no session is kept"
