"""PBX sessions that belong to a run: its notebooks borrow the access token, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from ..asking import ask_runner
from ..facts.side_by_side import others_begin
from .sign_in import Tokens

#: The name of the question, and the keys of the answer.
TOKEN = "token"  # noqa: S105 - the name of a question
ACCESS, EXPIRES_IN = "access_token", "expires_in"


class Lender(Protocol):
    """The owner of the sessions that a client uses."""

    def __call__(self, url: str, username: str, scope: str, refused: str | None) -> Tokens | None:
        """Return the tokens of a live session; ``None`` if the client has to sign in itself.

        Parameters
        ----------
        url, username
            The PBX and the administrator whose session it has to be.
        scope
            ``SYSTEM``, or the id of the tenant that the session has been switched to.
        refused
            The access token that was lent before and that the PBX no longer accepts.
        """


def lent_by_runner(url: str, username: str, scope: str, refused: str | None) -> Tokens | None:
    """Ask the runner of this kernel's run; see ``Lender``."""
    others_begin()
    answer = ask_runner(TOKEN, url=url, username=username, scope=scope, refused=refused)
    return None if answer is None else Tokens.borrowed(answer[ACCESS], answer[EXPIRES_IN])


def answer_with(lender: Lender, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a lender's answer to the question of ``lent_by_runner``."""
    tokens = lender(**{name: question[name] for name in ("url", "username", "scope", "refused")})
    if tokens is None:
        return None
    return {ACCESS: tokens.access, EXPIRES_IN: tokens.expires_at - time.monotonic()}
