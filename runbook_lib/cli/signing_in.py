"""``runbook sign-in``: whether the PBX lets us in, and what it then asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from ..parameters import Tenant, load_all, load_site, project_root
from ..screen import screen
from .options import SANDBOX_SITE, SiteFile, TenantFiles, files_of_run


def sign_in(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    clear: Annotated[
        bool,
        typer.Option(
            "--clear",
            help="Forget a refused sign-in (after correcting the password), and sign out of the sessions "
            "that were kept.",
        ),
    ] = False,
) -> None:
    """Test the sign-in to the PBX; if it asks for one-time codes, keep the sessions for the next runs."""
    from .. import sign_in as signing_in

    root = project_root()
    given, owners = files_of_run(site, tenants or [])
    if clear:
        lines: Iterable[str] = signing_in.clear(load_site(given, root), root)
    else:
        loaded = load_all(given, owners, root)
        domains = [owner.pbx_domain for _, owner in loaded if isinstance(owner, Tenant)]
        ask = partial(typer.prompt, "One-time code that the PBX sent", hide_input=sys.stdin.isatty())
        lines = signing_in.sign_in_each(load_site(given, root), root, domains, ask)
    for line in lines:
        screen.print(Text(line))
