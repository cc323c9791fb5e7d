"""The account that Twilio's answers belong to: checked in every answer, proven before the first write.

The trunking and routes APIs have no account in their paths: there the credentials decide. A main
account's API key acts on the main account there, although its requests below
``/2010-04-01/Accounts/{sid}`` act on the subaccount of the path, and a mixed-up key acts on the account
that it belongs to. So no answer that names another account than the site's is used, and after the
first one this run writes nothing more, at either vendor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx

from ..errors import AccountError
from ..records.journal import Journal

#: The account resource itself, which always names the requested account.
_ACCOUNT_ITSELF = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})\.json")
#: A link into an account; host and scheme only where the link is absolute.
_INTO_AN_ACCOUNT = re.compile(r"(?:https?://[^/]+)?/2010-04-01/Accounts/(AC[0-9a-fA-F]{32})(?=[/.?]|$)")
#: Fields with a resource's own links. Other URLs are the operator's: a number's voice URL may well lead
#: into another account.
_OWN_LINK = re.compile(r"uri|url|\w+_page_ur[il]")
_EVENTS = "/v1/Events"
_OWN_LINKS = frozenset({"links", "subresource_uris"})


class AccountCheck:
    """Compares the accounts that answers name with the one that the site names.

    ``proven`` says whether the credentials are known to act on the site's account where no path says
    it. An auth token is: its user name is the account. An API key is proven by an answer.
    """

    def __init__(self, account_sid: str, username: str, journal: Journal) -> None:
        self.account_sid = account_sid
        self.proven = username == account_sid
        self._journal = journal

    def look_at(self, request: httpx.Request, response: httpx.Response) -> None:
        """Check one answer; raise ``AccountError``, and stop all writes, if it belongs to another account."""
        try:
            answer = response.json()
        except ValueError:  # no content, or the page of a gateway
            return
        if request.url.path == _EVENTS and isinstance(answer, dict):
            # Who has changed something, and whatever else an event reports, may be another account's.
            answer = [{"account_sid": event.get("account_sid")} for event in answer.get("events") or ()]
        named = set(accounts_named(answer))
        itself = _ACCOUNT_ITSELF.fullmatch(request.url.path)
        if itself is not None and response.is_success:
            named.add(answer["sid"])
        expected = itself[1] if itself is not None else self.account_sid
        others = named - {expected}
        if others:
            self._refuse(request, response, answer, min(others))
        if named and not request.url.path.startswith("/2010-04-01/"):
            self.proven = True

    def refuse_credentials_of(self, other: str) -> None:
        """Raise ``AccountError`` for credentials that are known to be another account's."""
        raise self._stopped(
            AccountError(
                f"the Twilio credentials belong to account {other}, not to the site's account"
                f" {self.account_sid}",
                account=self.account_sid,
                other=other,
                meaning=f"trunks would be created in {other}; this run changes nothing more on either side",
                next_step=self._next_step,
            )
        )

    def refuse_unreadable(self) -> None:
        """Raise ``AccountError`` for credentials that can read nothing of the site's account."""
        raise self._stopped(
            AccountError(
                f"Twilio accepts the API key, but not for the site's account {self.account_sid}",
                account=self.account_sid,
                meaning="the key belongs to another account, or cannot read this one;"
                " this run changes nothing more, at either vendor",
                next_step=self._next_step,
            )
        )

    @property
    def _next_step(self) -> str:
        return (
            f"use the auth token or a main API key of {self.account_sid} itself in the site, and plan again"
        )

    def _refuse(self, request: httpx.Request, response: httpx.Response, answer: Any, other: str) -> None:
        meaning, next_step = "this run changes nothing more, at either vendor", self._next_step
        if request.method != "GET" and response.is_success:
            sid = answer.get("sid") if isinstance(answer, dict) else None
            written = self._journal.last["resource"] if self._journal.last else request.url.path
            meaning = f"this write was carried out in {other}: {written} ({sid}); {meaning}"
            next_step += f"; remove {sid} from {other} if it does not belong there"
        raise self._stopped(
            AccountError(
                f"Twilio answered {request.method} {request.url.path} for account {other},"
                f" not for the site's account {self.account_sid}",
                account=self.account_sid,
                other=other,
                meaning=meaning,
                next_step=next_step,
            )
        )

    def _stopped(self, error: AccountError) -> AccountError:
        self._journal.stop(error)
        return error


def accounts_named(answer: Any) -> Iterator[str]:
    """Yield the accounts that an answer says it is about, at any depth of it."""
    nodes = [answer]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        if not isinstance(node, dict):
            continue
        for name, value in node.items():
            if name == "account_sid" and isinstance(value, str) and value:
                yield value
            elif name in _OWN_LINKS and isinstance(value, dict):
                yield from _accounts_in(value.values())
            elif isinstance(value, str) and _OWN_LINK.fullmatch(name):
                yield from _accounts_in([value])
            else:
                nodes.append(value)


def _accounts_in(links: Any) -> Iterator[str]:
    for link in links:
        if isinstance(link, str) and (found := _INTO_AN_ACCOUNT.match(link)):
            yield found[1]
