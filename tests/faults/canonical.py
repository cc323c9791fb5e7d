"""The vendors' state and the journals without ids and times, so that two runs can be compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from runbook_lib.records.journal import FILE_NAME, read_journal
from tests.faults.cases import ID

_NAMES = ("domain_name", "sip_url", "username", "phone_number", "domain", "friendly_name", "name")
_TIMES = ("date_created", "date_updated", "at")


class Canonical:
    """One state of both vendors; ``tables`` is the same for two states that differ in ids and times only.

    Every table is a sorted list of its rows, so a double shows as one more row.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._labels = {
            key: f"<{table} {_name(row)}>"
            for vendor in ("twilio", "portsip")
            for table, rows in state[vendor].items()
            if isinstance(rows, dict)
            for key, row in rows.items()
            if isinstance(row, dict)
        }
        self.tables = {
            f"{vendor} {table}": self._rows(rows)
            for vendor in ("twilio", "portsip")
            for table, rows in state[vendor].items()
        }

    def text(self, text: str) -> str:
        """A text with names in the place of ids."""
        return re.sub(ID, lambda found: self._labels.get(found[0], found[0]), text)

    def journals(self, records: Path) -> list[str]:
        """Every write that a journal below ``records`` tells of, as far as the next run looks at it."""
        found = []
        for path in records.glob(f"**/{FILE_NAME}"):
            for write in read_journal(path):
                answer = write["answer"] or {}
                seen = [write[name] for name in ("section", "resource", "vendor", "method", "path")]
                seen += [bool(write["answer"]), answer.get("status"), (answer.get("error") or "")[:7]]
                found.append(self.text(json.dumps([*seen, answer.get("result")])))
        return sorted(found)

    def _rows(self, rows: Any) -> Any:
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            return rows
        kept = ({name: value for name, value in row.items() if name not in _TIMES} for row in rows.values())
        return sorted(self.text(json.dumps(row, sort_keys=True)) for row in kept)


def _name(row: dict[str, Any]) -> str:
    return next((str(row[name]) for name in _NAMES if row.get(name)), "")
