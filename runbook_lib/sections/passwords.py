"""The two passwords that are one pair: 2.3 at Twilio and 5.3 at the PBX.

Neither can be read back, so whoever writes one side writes both. The side at Twilio goes first
when the PBX trunk is made: a run that was cut off between them finds no PBX trunk and writes both
again, also when the secret was changed in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..plan import Action, Effect, Row
from ..vendors.twilio import as_read
from .base import PAIR_S, Item, time_to_pass

if TYPE_CHECKING:
    from ..context import Context

NOT_READABLE = "(not readable)"
BOTH = "neither side can be read back, so both are written together"
OVERWRITTEN = "the password that is there now cannot be restored"


class PasswordPair:
    """What is known of the pair: the credential at Twilio and the trunk in the PBX.

    ``user`` is the SDK's credential, or ``None``; ``reading_back`` says that nothing is going to be
    written, so that a password set again is not asked for once more.
    """

    def __init__(self, context: Context, user: Any | None, *, reading_back: bool = False) -> None:
        self._context = context
        self._settings = context.settings
        self._user = user
        self._reading_back = reading_back

    @property
    def resource(self) -> str:
        """The credential as people know it, for the journal."""
        return f"user {self._settings.username} in credential list {self._settings.credential_list_name}"

    @property
    def at_twilio(self) -> bool:
        """Whether the credential is at Twilio."""
        return self._user is not None

    def items_at_twilio(self, users: Callable[[], Any]) -> list[Item]:
        """Return section 2's items. ``users`` returns the SDK's credentials of the list, once it exists."""
        name, reference = self._settings.username, str(self._settings.password)
        at_pbx = self._context.pbx_trunk.exists()
        leave = self._context.tenant.set_password
        if self._user is None:
            if at_pbx and not leave:
                note = "the PBX trunk has a password already, and set_password is not set"
                return [Item((Row("2.3", f"user {name}", name, None, Action.CONFLICT, note=note),))]
            rows = (
                Row("2.3", f"user {name}", name, None, Action.CREATE),
                Row("2.3", "password at Twilio", reference, None, Action.CREATE),
            )
            create = lambda: users().create(name, self._context.sip_password())  # noqa: E731
            return [Item(rows, self.resource, create), *(self._at_pbx() if at_pbx else [])]
        found = Item((Row("2.3", f"user {name}", name, name, Action.IN_PLACE),))
        if at_pbx and leave and not self._reading_back:
            return [found, self.item_at_twilio(Effect.INTERRUPTS_OUTBOUND), *self._at_pbx()]
        if not at_pbx and not self._may_write():
            note = "it is at Twilio only and not made by this runbook, and set_password is not set"
            return [
                found,
                Item(
                    (Row("2.3", "password at Twilio", reference, NOT_READABLE, Action.CONFLICT, note=note),),
                    passing_s=self.time_to_pass,
                ),
            ]
        return [found, Item((Row("2.3", "password at Twilio", reference, NOT_READABLE, Action.UNREADABLE),))]

    def item_at_twilio(self, effect: Effect = Effect.NONE, step: str = "2.3") -> Item:
        """Return the item that writes the password at Twilio again."""
        if self._user is not None and not self._ours:
            effect = Effect.INTERRUPTS_OUTBOUND  # whatever uses it today
        reference = str(self._settings.password)
        note = BOTH if self._user is None else f"{BOTH}; {OVERWRITTEN}"
        row = Row(step, "password at Twilio", reference, NOT_READABLE, Action.UPDATE, effect, note)
        return Item(
            (row,),
            self.resource,
            lambda: self._user_now().update(self._context.sip_password()),
            repeatable=True,
            before=as_read(self._user) if self._user else None,
        )

    def conflict_at_pbx(self) -> Row | None:
        """Return the row that keeps section 5 from making the PBX trunk, if one does."""
        if self._user is None or self._may_write():
            return None
        note = "the credential is at Twilio only and not made by this runbook, and set_password is not set"
        reference = str(self._settings.password)
        return Row("5.3", "password at Twilio", reference, NOT_READABLE, Action.CONFLICT, note=note)

    @property
    def time_to_pass(self) -> float:
        """How long another run may need to make the other half, where it has just made the credential."""
        return time_to_pass(PAIR_S, self._user.date_created) if self._user is not None else 0.0

    def _may_write(self) -> bool:
        if self._context.tenant.set_password:
            return True
        return self._ours

    @property
    def _ours(self) -> bool:
        """Whether the journal shows that we made the credential."""
        user = self._user
        return user is not None and self._context.made_by_us(self.resource, user.sid, user.date_created)

    def _at_pbx(self) -> list[Item]:
        row = Row(
            "5.3",
            "password at the PBX",
            str(self._settings.password),
            NOT_READABLE,
            Action.UPDATE,
            Effect.INTERRUPTS_OUTBOUND,
            f"{BOTH}; {OVERWRITTEN}",
        )
        trunk = self._context.pbx_trunk
        write = lambda: trunk.update({"password": self._context.sip_password()})  # noqa: E731
        resource = f"PBX trunk {self._settings.pbx_name}"
        return [Item((row,), resource, write, repeatable=True, before=trunk.find())]

    def _user_now(self) -> Any:
        return self._user or find_user(self._context)


def find_user(context: Context) -> Any | None:
    """Read our user of our credential list; ``None`` when either does not exist."""
    settings, sip = context.settings, context.twilio.account.sip
    lists = sip.credential_lists.list(page_size=1000)
    ours = next((one for one in lists if one.friendly_name == settings.credential_list_name), None)
    if ours is None:
        return None
    users = sip.credential_lists(ours.sid).credentials.list(page_size=1000)
    return next((user for user in users if user.username == settings.username), None)
