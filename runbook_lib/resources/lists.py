"""The two kinds of lists that Twilio can enforce on a trunk, and what is read of one kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import keys
from ..facts.side_by_side import side_by_side
from ..keys import WORDS, Kind, ResourceKey
from ..meaning import same_name
from ..parameters.settings import Settings
from ..vendors.twilio import Twilio


@dataclass(frozen=True)
class ListKind:
    """A kind of list: its step in the guide, and where it is in Twilio's API.

    ``setting`` is the setting with our list's name; ``path`` the part of an address that lists of this
    kind have; ``in_account``, ``on_trunk`` and ``entries`` are names of the SDK.
    """

    kind: Kind
    step: str
    setting: str
    path: str
    in_account: str
    on_trunk: str
    entries: str

    @property
    def words(self) -> str:
        """The name of this kind, for people."""
        return WORDS[self.kind]

    def name(self, settings: Settings) -> str:
        """Return the name of our list."""
        return getattr(settings, self.setting)

    def key(self, settings: Settings) -> ResourceKey:
        """Return the key of our list."""
        return ResourceKey.of(self.kind, self.name(settings))

    def key_on_trunk(self, settings: Settings) -> ResourceKey:
        """Return the key of our list's place on the trunk."""
        return keys.on_trunk(self.key(settings), settings.domain)

    def of_account(self, twilio: Twilio) -> Any:
        """The account's lists of this kind (SDK object)."""
        return getattr(twilio.account.sip, self.in_account)

    def of_trunk(self, twilio: Twilio, sid: str) -> Any:
        """The lists of this kind on a trunk (SDK object)."""
        return getattr(twilio.trunks(sid), self.on_trunk)

    def of_list(self, twilio: Twilio, sid: str) -> Any:
        """The entries of a list (SDK object)."""
        return getattr(self.of_account(twilio)(sid), self.entries)


ACL = ListKind(
    kind=Kind.ACCESS_LIST,
    step="2.2",
    setting="acl_name",
    path="IpAccessControlLists",
    in_account="ip_access_control_lists",
    on_trunk="ip_access_control_lists",
    entries="ip_addresses",
)
CREDENTIALS = ListKind(
    kind=Kind.CREDENTIAL_LIST,
    step="2.3",
    setting="credential_list_name",
    path="CredentialLists",
    in_account="credential_lists",
    on_trunk="credentials_lists",
    entries="credentials",
)


@dataclass(frozen=True)
class Lists:
    """What was read of one kind: our list, all with its name, those on the trunk, our list's entries."""

    own: Any | None = None
    named: tuple[Any, ...] = ()
    attached: tuple[Any, ...] = ()
    entries: tuple[Any, ...] = ()

    @property
    def sid(self) -> str:
        """The SID of the runbook's list, for operations that need an existing one."""
        assert self.own is not None, "our list is made before anything is put into it or onto the trunk"
        return self.own.sid


def named_lists(kind: ListKind, settings: Settings, lists: Iterable[Any]) -> tuple[Any, ...]:
    """Return those of the account's lists that have the name that the parameters give ours."""
    return tuple(found for found in lists if same_name(found.friendly_name, kind.name(settings)))


def lists_on(kind: ListKind, twilio: Twilio, trunk: Any | None) -> tuple[Any, ...]:
    """Read the lists of a kind on a trunk; none without a trunk."""
    return tuple(kind.of_trunk(twilio, trunk.sid).list()) if trunk is not None else ()


def own_list(
    kind: ListKind,
    settings: Settings,
    lists: Collection[Any],
    on_trunk: Callable[[], Iterable[Any]],
    made_by_us: Callable[[ResourceKey, str], bool],
) -> Any | None:
    """Return which of the account's lists is ours.

    It has the name that the parameters give it; renamed by somebody, it is the one on the trunk
    (``on_trunk`` reads these) of which the journals show that we made it.
    """
    named = named_lists(kind, settings, lists)
    if named:
        return named[0]
    sids, key = {found.sid for found in on_trunk()}, kind.key(settings)
    return next((found for found in lists if found.sid in sids and made_by_us(key, found.sid)), None)


def read_lists(
    kind: ListKind,
    twilio: Twilio,
    settings: Settings,
    lists: Collection[Any],
    trunk: Any | None,
    made_by_us: Callable[[ResourceKey, str], bool],
) -> Lists:
    """Read what there is of one kind, ``lists`` being the account's, and ``trunk`` ours if there is one."""
    attached = partial(lists_on, kind, twilio, trunk)

    def own_and_entries() -> tuple[Any | None, tuple[Any, ...]]:
        own = own_list(kind, settings, lists, attached, made_by_us)  # the moment answers a second `attached`
        return own, tuple(kind.of_list(twilio, own.sid).list()) if own is not None else ()

    on_trunk, (own, entries) = side_by_side(attached, own_and_entries)
    return Lists(own, named_lists(kind, settings, lists), on_trunk, entries)
