"""Keeping the newest head outside the records folder: a command of the operator's, run after records close.

``records/settings.toml`` names it (``anchor``, a list of arguments; no shell). It gets the head on its
standard input. ``records/anchors.jsonl`` lists the heads that were kept, so that ``runbook records verify``
can show the age of the newest one. That file proves nothing, because anyone who can write to the folder can
write it. The proof is what the command has stored somewhere else.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ..errors import RunbookError
from ..plain_files import MIB, SMALL, describe, descriptor, read
from ..secret import scrub
from .chain import Chain, Entry
from .errors import RecordError
from .result import now

SETTINGS, ANCHORS = "settings.toml", "anchors.jsonl"
FORMAT = 1
LIMIT_S = 10.0
#: Environment variables that the command gets: enough to find programs and the user's settings, no secret.
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSH_AUTH_SOCK")


@dataclass(frozen=True)
class Kept:
    """A head that the command has kept: its entry's number, its digest, and when that was (UTC)."""

    seq: int
    head: str
    at: str


def keep_head(records: Path) -> Kept | None:
    """Pass the newest head to the command in the settings; ``None`` if there is no command or no record yet.

    Call it when nothing is locked. Raises ``RecordError`` if the head could not be kept; nothing else
    depends on that.
    """
    command = _command(records)
    entries = Chain(records).entries() if command else []
    if not command or not entries:
        return None
    last = entries[-1]
    _run(command, f"{last.digest}\n".encode(), records)
    kept = Kept(last.seq, last.digest, now())
    line = json.dumps({"format": FORMAT, "at": kept.at, "seq": kept.seq, "head": kept.head}) + "\n"
    try:
        file = descriptor(records / ANCHORS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise RecordError(f"the head was kept, but {ANCHORS} cannot be written ({describe(error)})") from None
    return kept


def head_cautions(records: Path) -> list[str]:
    """Keep the newest head after work that does not depend on it; return why it is not kept."""
    try:
        keep_head(records)
    except RunbookError as error:
        return [str(error)]
    except KeyboardInterrupt:  # the work itself is complete: only this is interrupted
        return ["keeping the newest head elsewhere was interrupted: runbook records head shows it"]
    return []


def kept_heads(records: Path) -> list[Kept]:
    """Return the heads that were kept, oldest first; skip lines that the runbook did not write.

    Raises ``OSError`` if it is not a plain file or cannot be read.
    """
    try:
        lines = read(records / ANCHORS).splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            told: Any = json.loads(line)
            kinds = {"format": int, "seq": int, "at": str, "head": str}
            if all(type(told[key]) is kind for key, kind in kinds.items()) and told["format"] == FORMAT:
                found.append(Kept(told["seq"], told["head"], told["at"]))
    return found


def age_of(kept: Kept, entries: Sequence[Entry]) -> str:
    """Say how old a kept head is: by this machine's clock, and in entries."""
    since = sum(entry.seq > kept.seq for entry in entries)
    behind = f"{since} entries came after it" if since else "no entry came after it"
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(kept.at)).total_seconds()
    except (ValueError, TypeError):
        return f"at {kept.at}; {behind}"
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago by this machine's clock ({kept.at}); {behind}"
    return f"just now ({kept.at}); {behind}"


def read_settings(records: Path) -> dict[str, Any]:
    """Return what ``settings.toml`` says; empty without one.

    It names a command that is run as whoever closes a record, and how long records are kept. So it counts
    only from a file that nobody but this account or root can write: ``RecordError`` for another one, and
    for one that cannot be read.
    """
    path = records / SETTINGS
    try:
        status = os.lstat(path)
        content = tomllib.loads(read(path, MIB).decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(describe(error)) from None
    except ValueError as error:
        raise _unusable(f"{path}: {error}") from None
    if status.st_uid not in (0, os.getuid()) or stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unusable(
            f"{path} can be written by others, so none of its settings is used and no command in it is run"
        )
    if unknown := content.keys() - {"anchor", "keep"}:
        raise _unusable(f"{path}: {', '.join(sorted(unknown))}: no such setting")
    command = content.get("anchor", [])
    if not isinstance(command, list) or not all(isinstance(word, str) and word for word in command):
        raise _unusable(f"{path}: anchor is not a list of arguments")
    if not isinstance(content.get("keep", ""), str):
        raise _unusable(f'{path}: keep is not an age such as "7y"')
    return content


def _command(records: Path) -> list[str]:
    """The command of the settings, if there is one."""
    try:
        return read_settings(records).get("anchor", [])
    except RecordError as error:
        raise _not_kept(error.what) from None


def _run(command: list[str], message: bytes, records: Path) -> None:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    name = Path(command[0]).name
    # Into a file: a child that continues in the background would keep a pipe open.
    with TemporaryFile() as errors, TemporaryFile() as head:
        head.write(message)
        head.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=head,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                cwd=records,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise _not_kept(
                f"{name} cannot be started ({getattr(error, 'strerror', None) or error})"
            ) from None
        try:
            status = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise _not_kept(f"{name} did not end within {LIMIT_S:.0f} seconds") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - SMALL))
        said = errors.read().decode(errors="replace").strip().splitlines()
    if status != 0:
        raise _not_kept(
            f"{name} ended with status {status}: {scrub(said[-1]) if said else 'no reason given'}"
        )


def _not_kept(why: str) -> RecordError:
    return RecordError(
        f"the newest head was not kept elsewhere: {why}",
        meaning="the records are complete, but only an older head, if any, is stored outside them",
        next_step="store it by hand (runbook records head), or correct the command (anchor in"
        f" records/{SETTINGS})",
    )


def _unusable(why: str) -> RecordError:
    return RecordError(
        f"the settings of the records cannot be used: {why}",
        meaning="none of these settings was applied",
        next_step=f"correct records/{SETTINGS}",
    )
