"""How many requests may be in flight at one vendor's account, and how many a minute, whoever sends them.

A slot is a file lock, for one exchange: the operating system releases it with the process. All processes
of a machine share the same files, whatever their workspace, temporary folder or account. The holder of a
slot waits only for its turn and for the vendor's answer, so slots can never be part of a deadlock, and
waiting for one is never an error. If no file can be created, there is no budget, and everything else works.

Writes, what is read to confirm them, sign-ins (the whole session waits for its own) and sign-outs go first:
ordinary reads leave one slot free for them, and take none while one of them waits. After 429 the budget is
half as large, and then recovers one by one.

Where the vendor counts the requests of a minute, each also waits for its turn (``pace``).
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import random
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from ..plain_files import SMALL, shared_descriptor
from ..records.clocks import steady
from ..records.waits import NOTICE_S
from .pace import Pace

#: Requests in flight per vendor and account. Twilio publishes no limit; for its deploy tool it
#: advises 10 to 15 (twilio-labs/serverless-toolkit #303, #517). A PBX limits only the requests of a minute.
SLOTS = 8
#: After 429, the budget grows by one after this many seconds.
RECOVERY_S = 10.0
#: Between two looks for a free slot: at first, and in the end; by chance up to twice as long.
POLL_S, LONGEST_POLL_S = 0.002, 0.016
#: Longer than any exchange takes. If no slot has changed hands for that time, their holders are suspended.
PATIENCE_S = 60.0
#: The requests a minute that a PBX takes from one address, unless its site knows better (PortSIP, FAQ: 5,000
#: since 16.2).
PBX_A_MINUTE = 5_000
#: In there, the budgets of this machine; a service's own temporary folders (PrivateTmp) are not this one.
MACHINE = (Path("/dev/shm"), Path("/var/tmp"))  # noqa: S108 - shared on purpose, see _make_folder
FOLDER = "portsip-twilio-runbook"


def twilio_budget(account_sid: str, url: str, elsewhere: Path) -> Budget:
    """Return the budget of a Twilio account; of one for each server where it is not Twilio's own.

    ``elsewhere`` has the files if this machine has no folder for them.
    """
    host = urlsplit(url).hostname or ""
    name = account_sid if host.endswith(".twilio.com") else f"{account_sid} at {urlsplit(url).netloc}"
    return Budget(machine_folder() or elsewhere, _named("twilio", name))


def pbx_budget(url: str, a_minute: int | None, elsewhere: Path, *, share: float = 1.0) -> Budget:
    """Return the budget of a PBX, whichever site names it.

    ``a_minute`` is its limit for one address if that is known, ``share`` how much of it may be used.
    """
    name = _named("portsip", urlsplit(url).netloc)
    folder = machine_folder() or elsewhere
    pace = Pace(folder / f".{name}-pace.lock", (a_minute or PBX_A_MINUTE) * share)
    return Budget(folder, name, pace=pace)


def machine_folder() -> Path | None:
    """Return the folder of all budgets of this machine; ``None`` if there cannot be one."""
    for place in MACHINE:
        if place.is_dir():
            folder = place / FOLDER
            return folder if _make_folder(folder) else None
    return None


def _make_folder(folder: Path) -> bool:
    """Make a folder that all accounts may write to, but in which each may only delete its own files."""
    try:
        folder.mkdir()
        folder.chmod(0o1777)
    except FileExistsError:
        pass
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and os.access(folder, os.W_OK | os.X_OK)


def _named(vendor: str, name: str) -> str:
    """A name for files that everybody can list: it says nothing about the account."""
    return f"{vendor}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


class Budget:
    """The requests in flight at one account of one vendor.

    Parameters
    ----------
    folder
        Where the slots' files are, for every process to see; made if it can be.
    name
        Names vendor and account within the folder.
    slots
        How many requests may be in flight.
    pace
        Gives each request its turn; without one, they need not wait for any.
    """

    def __init__(self, folder: Path, name: str, slots: int = SLOTS, pace: Pace | None = None) -> None:
        self._pace = pace
        self._folder = folder
        self._slots = [folder / f".{name}-{number}.lock" for number in range(slots)]
        #: Its lock is shared by those of the first rank who wait; its content is the last 429.
        self._state = folder / f".{name}.lock"
        self._own_state = (slots, 0.0)
        #: Who held the slots when patience ran out: as long as they do, nobody waits for them again.
        self._stuck = list[int]()

    @contextmanager
    def slot(
        self, *, first: bool, waiting: Callable[[float | None], object] = lambda _: None
    ) -> Iterator[None]:
        """Hold a slot during the ``with`` block; waits for one. ``first``: before ordinary reads.

        ``waiting`` is called if that takes longer: with the seconds that are left, or with ``None`` if nobody
        knows how many.
        """
        slot = self._wait(first, waiting)
        try:
            if self._pace is not None:
                self._pace.wait(waiting)
            yield
        finally:
            if slot is not None:
                _release(slot)

    def refused(self, sent_at: float, retry_after_s: float | None = None) -> None:
        """Halve the budget after 429; ``sent_at`` (``time.time``) is when the request left.

        Requests that were in flight together halve it once. Where requests have a pace, all wait for as long
        as the vendor asked for.
        """
        if self._pace is not None:
            self._pace.refused(sent_at, retry_after_s)
        slots, halved_at = self._read_state()
        now = time.time()
        if sent_at <= halved_at <= now:
            return
        self._own_state = (max(1, self._grown(slots, halved_at, now) // 2), now)
        with suppress(OSError), _opened(self._state) as file:
            # In place: a file that is replaced would have another lock.
            state = "{} {:.6f}\n".format(*self._own_state).encode()
            os.pwrite(file.fileno(), state, 0)
            os.ftruncate(file.fileno(), len(state))

    @property
    def size(self) -> int:
        """How many requests may be in flight now."""
        return self._grown(*self._read_state(), time.time())

    def _grown(self, slots: int, halved_at: float, now: float) -> int:
        """The present budget; all of it if the clock was set back since."""
        whole = len(self._slots)
        grown = int(min((now - halved_at) / RECOVERY_S, whole)) if now >= halved_at else whole
        return max(1, min(whole, slots + grown))

    def _read_state(self) -> tuple[int, float]:
        """The budget after the latest 429 and when that was; also where its file may not be written."""
        try:
            with _opened(self._state) as file:
                slots, halved_at = os.pread(file.fileno(), SMALL, 0).split()
            shared = (int(slots), float(halved_at))
        except (OSError, ValueError):  # not written yet, or by somebody else
            return self._own_state
        return max(shared, self._own_state, key=lambda state: state[1])

    def _wait(self, first: bool, waiting: Callable[[None], object]) -> BinaryIO | None:
        """Acquire a slot; ``None`` if there are none, or if their holders are suspended."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as queue:
            seen, since = list[int](), steady()
            waits, pause, notice_at = False, POLL_S, since + NOTICE_S
            while True:
                slot, holders = self._try(first)
                if slot is not None or not holders:
                    return slot
                if holders != seen:
                    seen, since = holders, steady()
                elif holders == self._stuck or steady() - since > PATIENCE_S:
                    self._stuck = holders
                    return None
                if steady() > notice_at:
                    waiting(None)
                    notice_at = math.inf
                if first and not waits:
                    waits = True
                    with suppress(OSError):
                        state = queue.enter_context(_opened(self._state))
                        fcntl.flock(state, fcntl.LOCK_SH)
                # Not time.sleep, which fails where the clock is set while it sleeps (libfaketime).
                select.select([], [], [], pause * random.uniform(1, 2))  # noqa: S311 - not a secret
                pause = min(pause * 1.5, LONGEST_POLL_S)

    def _try(self, first: bool) -> tuple[BinaryIO | None, list[int]]:
        """Acquire a free slot; otherwise return a value that changes with the holders, empty if no slots."""
        size = self.size
        # The first slot is for those who go first; a budget of one is everybody's.
        mine = self._slots[0 if first or size == 1 else 1 : size]
        yields = not first and self._somebody_goes_first()
        holders = list[int]()
        for path in mine:
            try:
                slot = _opened(path)
            except OSError:
                continue
            if not yields:
                try:
                    fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                except OSError:  # a file system without locks
                    slot.close()
                    continue
                else:
                    with suppress(OSError):
                        os.utime(slot.fileno())
                    return slot, holders
            holders.append(os.fstat(slot.fileno()).st_mtime_ns)
            slot.close()
        return None, holders

    def _somebody_goes_first(self) -> bool:
        try:
            with _opened(self._state) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


def _opened(path: Path) -> BinaryIO:
    """Open a file, which is made where there is none; another account's may be readable only."""
    return os.fdopen(shared_descriptor(path), "rb+", buffering=0)


def _release(slot: BinaryIO) -> None:
    # Closing is not enough where a process was forked in the meantime: it has the file open as well.
    with suppress(OSError):
        fcntl.flock(slot, fcntl.LOCK_UN)
    slot.close()
