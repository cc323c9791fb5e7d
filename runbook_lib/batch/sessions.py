"""A batch's sessions at the PBX: one for the system, and one for the current tenant."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ..parameters import load_site
from ..records.living import Phase
from ..records.waits import Waits
from ..sign_in import pbx_alone
from ..vendors.pbx import Pbx
from ..vendors.portsip import Session
from ..vendors.sign_in import SYSTEM, Tokens

#: How long the end of a run waits for a sign-in in progress; after that, the session is left to expire.
PATIENCE_S = 5.0


class Sessions:
    """Signs in when a session is needed, refreshes it, and signs out; nothing else in the batch does so.

    ``lend`` is a ``Lender``, which any thread may call.

    Parameters
    ----------
    site
        The site's parameter file.
    root
        The workspace's folder.
    enter
        Called with what the run is doing, before and after a sign-in.
    waits
        What the run's runner waits for.
    """

    def __init__(
        self,
        site: Path,
        root: Path,
        enter: Callable[[Phase], object] = lambda _: None,
        waits: Waits | None = None,
    ) -> None:
        self._site = site
        self._root = root
        self._enter = enter
        self._waits = waits
        self._pbx: Pbx | None = None
        self._by_scope: dict[str, Session] = {}
        self._turn = threading.Lock()
        self._stack = ExitStack()

    def lend(self, url: str, username: str, scope: str, refused: str | None) -> Tokens | None:
        """Return what a borrower needs of a scope's session, which is opened if there is none."""
        with self._turn:
            if self._pbx is None:
                site = load_site(self._site, self._root)
                self._pbx = self._stack.enter_context(pbx_alone(site, self._root, waits=self._waits))
            if not self._pbx.is_at(url, username):
                return None  # the site's file was changed since the batch began
            if scope not in self._by_scope:
                self._enter(Phase.SIGNING_IN)
                self._by_scope[scope] = self._pbx.open(None if scope == SYSTEM else scope)
                self._enter(Phase.READING)
            tokens = self._by_scope[scope].token(refused)
            tokens.remember()  # also in a long batch, in which it would no longer be among the latest
            return replace(tokens, refresh="", kept=False, lent=True)

    def end_tenants(self) -> None:
        """Sign out of the tenants' sessions; the system's serves the next tenant as well."""
        with self._at_the_end() as can_end:
            for scope in [scope for scope in self._by_scope if scope != SYSTEM and can_end]:
                self._by_scope.pop(scope).sign_out()

    def end(self) -> None:
        """Sign out of every session, and close the connections."""
        with self._at_the_end() as can_end:
            if can_end:
                self._stack.close()

    @contextmanager
    def _at_the_end(self) -> Iterator[bool]:
        can_end = self._turn.acquire(timeout=PATIENCE_S)
        try:
            yield can_end
        finally:
            if can_end:
                self._turn.release()
