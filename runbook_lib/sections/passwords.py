"""The two passwords that are one pair: 2.3 at Twilio and 5.3 in the PBX.

Neither can be read back, so writing one side means writing both. Twilio's side is written first
when the PBX trunk is created: after an interruption between the two, the next run finds no PBX trunk and
writes both again, even if the secret was changed in between.

An update of anything else in the PBX trunk also writes its password: PortSIP calls it
"creating, replacing", so on some PBXs an update without the password may lose it, and with it every
outbound call. Sending a password other than Twilio's would stop those calls as well. Twilio shows when a
credential was last changed, and the journal has that time for each of the runbook's own writes: if the two
agree, the last written password is sent again, and nothing is interrupted. Otherwise nobody
knows which password works today, and both sides are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import keys
from ..errors import OutcomeUnknownError, RunbookError, UnreachableError, VendorError
from ..keys import Kind, ResourceKey, Why
from ..plan import CHANGING, PASSWORD_AT_PBX, PASSWORD_AT_TWILIO, Action, Effect, Row, field_of, joined_notes
from ..records.journal import CLOCKS, sent_at
from ..resources.lists import CREDENTIALS, lists_on, own_list
from ..secret import written_at
from ..vendors.twilio import as_read, read_date
from .base import PAIR_S, time_to_pass
from .items import Item

if TYPE_CHECKING:
    from ..context import Context

NOT_READABLE = "(not readable)"
AT_TWILIO, AT_PBX = "password at Twilio", "password at the PBX"
#: What the plan calls the password of each side.
SIDES = {PASSWORD_AT_TWILIO: AT_TWILIO, PASSWORD_AT_PBX: AT_PBX}
BOTH = "neither side can be read back, so both are written together"
OVERWRITTEN = "the current password cannot be restored"
SENT_AGAIN = "the password is sent as well: the one that the runbook last wrote on both sides"
ONLY_AT_TWILIO = (
    "the credential exists only at Twilio and was not created by this runbook; to write both sides,"
    " set set_password: true"
)


class PasswordPair:
    """What is known about the pair: the credential at Twilio and the trunk in the PBX.

    ``user`` is the SDK's credential, or ``None``; ``reading_back`` means that nothing will be
    written, so that ``set_password`` does not ask for another write.
    """

    def __init__(self, context: Context, user: Any | None, *, reading_back: bool = False) -> None:
        self._context = context
        self._settings = context.settings
        self._user = user
        self._reading_back = reading_back

    @property
    def resource(self) -> ResourceKey:
        """The key of the credential."""
        name = self._settings.username if self._user is None else self._user.username
        of_list = ResourceKey.of(Kind.CREDENTIAL_LIST, self._settings.credential_list_name)
        return ResourceKey.of(Kind.USER, name, of_list)

    @property
    def at_twilio(self) -> bool:
        """Whether the credential exists at Twilio."""
        return self._user is not None

    def items_at_twilio(self, users: Callable[[], Any], in_pbx: Sequence[Mapping[str, Any]]) -> list[Item]:
        """Return section 2's items.

        ``users`` returns the SDK's credentials of the list, once it exists; ``in_pbx`` are the trunks of
        the PBX that may be ours, as they were read.
        """
        name, reference = self._settings.username, str(self._settings.password)
        user = self.resource.words
        at_pbx = bool(in_pbx)
        leave = self._context.owner.set_password
        if self._user is None:
            if at_pbx and not leave:
                note = "the PBX trunk already has a password; to write both sides, set set_password: true"
                row = Row("2.3", user, name, None, Action.CONFLICT, note=note, why=Why.NOT_OURS)
                return [Item((row,))]
            rows = (
                Row("2.3", user, name, None, Action.CREATE),
                Row("2.3", AT_TWILIO, reference, None, Action.CREATE, field=PASSWORD_AT_TWILIO),
            )
            create = lambda: users().create(name, self._context.sip_password())  # noqa: E731
            return [Item(rows, self.resource, create), *(self._at_pbx(in_pbx) if at_pbx else [])]
        found = Item((Row("2.3", user, name, name, Action.IN_PLACE),))
        if at_pbx and leave and not self._reading_back:
            return [found, self.item_at_twilio(Effect.INTERRUPTS_OUTBOUND), *self._at_pbx(in_pbx)]
        if not at_pbx and not self._may_write():
            note = ONLY_AT_TWILIO
            row = self._row("2.3", PASSWORD_AT_TWILIO, Action.CONFLICT, note=note, why=Why.NOT_OURS)
            return [found, Item((row,), passing_s=self.time_to_pass)]
        return [found, Item((self._row("2.3", PASSWORD_AT_TWILIO, Action.UNREADABLE),))]

    def item_at_twilio(self, effect: Effect = Effect.NONE, step: str = "2.3") -> Item:
        """Return the item that writes the password at Twilio again."""
        if self._user is not None and not self._ours:
            effect = Effect.INTERRUPTS_OUTBOUND  # for whatever uses it today
        note = BOTH if self._user is None else f"{BOTH}; {OVERWRITTEN}"
        row = self._row(step, PASSWORD_AT_TWILIO, Action.UPDATE, effect, note)
        return Item(
            (row,),
            self.resource,
            lambda: self._user_now().update(self._context.sip_password()),
            repeatable=True,
            before=as_read(self._user) if self._user else None,
        )

    def unreadable(self) -> Item:
        """Return the rows of a pair that is not changed, or whose write cannot be seen.

        They are in the same place as the rows of a pair that is written, so that an earlier plan can be
        applied again.
        """
        return Item(tuple(self._row("5.3", side, Action.UNREADABLE) for side in SIDES))

    def items_of_update(
        self,
        rows: tuple[Row, ...],
        changes: Mapping[str, Any],
        before: Mapping[str, Any],
        *,
        written_before: bool = False,
    ) -> list[Item]:
        """Return the items of an update of the PBX trunk: its rows, and what happens to the password.

        Parameters
        ----------
        rows
            The rows that the update carries out.
        changes
            The fields that it changes.
        before
            The trunk as it was read.
        written_before
            Whether the plan writes both sides before this update.
        """
        trunk, resource = self._context.pbx_trunk, keys.pbx_trunk(self._settings.pbx_name)
        if self._context.site.pbx.update_keeps_password:
            return [Item(rows, resource, partial(trunk.update, changes), before=before), self.unreadable()]
        doubt = "" if written_before else self._doubt()
        if not doubt:
            rows = tuple(
                replace(row, note=joined_notes(row.note, SENT_AGAIN)) if row.action in CHANGING else row
                for row in rows
            )
            write = lambda: trunk.update({**changes, "password": self._context.sip_password()})  # noqa: E731
            return [Item(rows, resource, write, before=before), self.unreadable()]
        effect = Effect.INTERRUPTS_OUTBOUND
        note = f"{doubt}, so it is unknown which password works today; {BOTH}; {OVERWRITTEN}"
        password = self._row("5.3", PASSWORD_AT_PBX, Action.UPDATE, effect, note)
        update = Item((*rows, password), resource, partial(self._update_second_half, changes), before=before)
        return [self.item_at_twilio(effect, step="5.3"), update] if self.at_twilio else [update]

    def _doubt(self) -> str:
        """Return why the password at Twilio may not be the one in the parameters; empty if it is."""
        user, settings = self._user, self._settings
        if user is None:
            return f"credential list {settings.credential_list_name} has no user for it"
        # Twilio's dates are exact to the second, within which two runs can have written.
        written = [one for one in self._context.answered_writes(user.sid) if _dated(one, user)]
        last = max(written, key=sent_at, default=None)
        if last is None:
            return "the records do not show that the runbook was the last to write the password at Twilio"
        reference = settings.password
        wrote = (PASSWORD_AT_TWILIO, str(reference))
        if not any((field_of(row), row["desired"]) == wrote for row in last["rows"]):
            return "the parameters name a different secret from the one that was last written"
        changed = written_at(reference, self._context.root)
        if changed is not None and changed > _wrote_at(last, user):
            return f"{reference} has changed since the password was last written"
        return ""

    def _update_second_half(self, changes: Mapping[str, Any]) -> None:
        """Update the PBX trunk after Twilio has got the password; without the changes if they are refused."""
        trunk, password = self._context.pbx_trunk, {"password": self._context.sip_password()}
        try:
            trunk.update({**changes, **password})
        except OutcomeUnknownError:
            raise  # read again, then sent again
        except VendorError as error:
            if self.at_twilio:
                error.meaning = (
                    "Twilio has the password, the PBX does not: outbound calls fail until this is run again"
                )
                if not isinstance(error, UnreachableError):
                    with suppress(RunbookError):
                        trunk.update(password)
                        error.meaning = "the change was refused; the password was written on both sides"
            raise

    def conflict_at_pbx(self) -> Row | None:
        """Return the row that keeps section 5 from making the PBX trunk, if one does."""
        if self._user is None or self._may_write():
            return None
        note = ONLY_AT_TWILIO
        return self._row("5.3", PASSWORD_AT_TWILIO, Action.CONFLICT, note=note, why=Why.NOT_OURS)

    @property
    def time_to_pass(self) -> float:
        """How long another run that has just created the credential may need to create the other half."""
        if self._user is None:
            return 0.0
        return time_to_pass(PAIR_S, self._context.journal.clocks.now("Twilio"), self._user.date_created)

    def _may_write(self) -> bool:
        if self._context.owner.set_password:
            return True
        return self._ours

    @property
    def _ours(self) -> bool:
        """Whether the journal shows that the runbook created the credential."""
        user = self._user
        return user is not None and self._context.made_by_us(self.resource, user.sid, user.date_created)

    def _at_pbx(self, in_pbx: Sequence[Mapping[str, Any]]) -> list[Item]:
        note = f"{BOTH}; {OVERWRITTEN}"
        row = self._row("5.3", PASSWORD_AT_PBX, Action.UPDATE, Effect.INTERRUPTS_OUTBOUND, note)
        trunk = self._context.pbx_trunk
        write = lambda: trunk.update({"password": self._context.sip_password()})  # noqa: E731
        resource = keys.pbx_trunk(self._settings.pbx_name)
        before = in_pbx[0] if len(in_pbx) == 1 else None
        return [Item((row,), resource, write, repeatable=True, before=before)]

    def _row(
        self,
        step: str,
        side: str,
        action: Action,
        effect: Effect = Effect.NONE,
        note: str = "",
        why: Why | None = None,
    ) -> Row:
        """The row of one side's password, if it already has one."""
        reference = str(self._settings.password)
        return Row(step, SIDES[side], reference, NOT_READABLE, action, effect, note, side, why)

    def _user_now(self) -> Any:
        return self._user or find_user(self._context)


def _dated(write: Mapping[str, Any], user: Any) -> bool:
    """Whether a write of a journal was the last change of a credential, by Twilio's date."""
    fields = [(end or {}).get("fields") or {} for end in (write["answer"], write["found"])]
    dates = [one["date_updated"] for one in fields if one.get("date_updated")]
    return any(read_date(date) == user.date_updated for date in dates)


def _wrote_at(write: Mapping[str, Any], user: Any) -> datetime:
    """When a write changed a credential, by a clock that can be compared with a file's.

    If this machine's clock was ahead then, it cannot show what has happened since; Twilio's clock can.
    """
    sent = sent_at(write)
    return user.date_updated if sent - user.date_updated > CLOCKS else sent


def find_user(context: Context, username: str | None = None) -> Any | None:
    """Read a user (ours, without a name) of our credential list; ``None`` when either does not exist."""
    settings, twilio = context.settings, context.twilio
    username = settings.username if username is None else username
    ours = own_list(
        CREDENTIALS,
        settings,
        twilio.kept(CREDENTIALS.path, CREDENTIALS.of_account(twilio).list),
        lambda: lists_on(CREDENTIALS, twilio, context.twilio_trunk.find()),
        context.made_by_us,
    )
    if ours is None:
        return None
    users = CREDENTIALS.of_list(twilio, ours.sid).list()
    return next((user for user in users if user.username == username), None)
