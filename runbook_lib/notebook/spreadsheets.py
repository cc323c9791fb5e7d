"""Tables as CSV for a spreadsheet, in which nothing that a vendor sent is a formula.

A spreadsheet may interpret a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line ending as a
formula (OWASP, CSV injection). Such a cell gets an apostrophe in front, including a number in E.164, which
would lose its plus; control characters are shown as their code points, as everywhere.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from .display import visible

#: The last four are their full-width forms, which spreadsheets read alike.
_BEGINNINGS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def csv_text(tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[str]]]]) -> str:
    """Return tables (caption, columns, rows of text) below each other, an empty line between them.

    A table without a caption begins with its columns.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    for index, (caption, columns, rows) in enumerate(tables):
        if index:
            text.write("\r\n")
        lines = ([caption], columns, *rows) if caption else (columns, *rows)
        writer.writerows([_inert(cell) for cell in line] for line in lines)
    return text.getvalue()


def _inert(cell: str) -> str:
    shown = visible(cell)
    return f"'{shown}" if shown.lstrip().startswith(_BEGINNINGS) else shown
