"""The two forms of a table of cells: HTML as pandas' Styler makes it, text as rich lays it out.

Both are inert whatever the cells hold, and show each of them whole. Styles are inline: see ``display``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .display import SANS, escaped, wrapped

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

_TEMPLATES = Path(__file__).parent / "templates"
_TABLE = (
    f"{SANS};font-size:13px;line-height:1.4;border-collapse:collapse;margin:10px 0;table-layout:auto;"
    "width:auto;max-width:100%"
)
_CAPTION = (
    "caption-side:top;text-align:left;font-weight:600;font-size:14px;padding:2px 0 6px;color:inherit;"
    "white-space:normal;overflow-wrap:anywhere"
)
#: JupyterLab gives every second row a ground of its own: a note would have another one than its row.
_ROW = "background-color:transparent"
_RULE = "border-top:1px solid rgba(128,128,128,0.35)"
_ANY = "text-align:left;vertical-align:top;padding:3px 10px 3px 0"
_BROKEN = f"{_ANY};white-space:normal;overflow-wrap:anywhere"
_WHOLE = f"{_ANY};white-space:nowrap"
_LINE = f"{_BROKEN};padding-top:0;opacity:0.85"
_BOLD = "font-weight:600"
#: Where a long word is broken first: after an element of a list, and within an address.
_BREAKS = re.compile(r"(?<=[;,/@])|(?<=\.)(?=[A-Za-z])")
#: A word of up to this length is not broken while there is room for it.
_LONGEST_WORD = 30
#: Of the window's width, for the longest words of all columns: JupyterLab's own furniture takes the rest.
_SHARE_VW = 40
#: So wide is text that goes to no terminal.
NO_TERMINAL = 120
#: For text of which no cell is to be folded.
UNFOLDED = 10_000


def broken(text: str) -> str:
    """Return text as HTML in which a line may end within long words."""
    return "<wbr>".join(map(escaped, _BREAKS.split(text)))


def longest_word(text: str) -> int:
    """Return the length of the longest part of a text in which no line may end."""
    return max((len(word) for part in _BREAKS.split(text) for word in part.split()), default=0)


def styled_html(
    frame: pd.DataFrame,
    *,
    caption: str,
    formats: Sequence[Callable[[Any], str]],
    words: Sequence[int],
    whole: Collection[str] = (),
    lines: Collection[str] = (),
    hidden: Collection[str] = (),
    empty: str = "",
) -> str:
    """Return a frame as HTML.

    Parameters
    ----------
    caption, empty
        What the table shows, and what it says where it has no rows. Plain text.
    formats
        For each column, what makes HTML of a value.
    words
        For each column, the length of the longest word in it.
    whole, lines, hidden
        Columns whose cells stay on one line, those that are lines of their own below their row, and those
        that are not shown.
    """
    import pandas as pd  # takes half a second, so only who shows a table pays for it

    names = list(frame.columns)
    away = [name for name in names if name in lines or name in hidden]
    styler = _styler()(frame).format(dict(zip(names, formats, strict=True)))
    styler = styler.format_index(escaped, axis="columns").set_caption(escaped(caption))
    styler = styler.hide(axis="index").hide(away, axis="columns")
    seen = [name for name in names if name not in away]
    # Whatever the reader's own options say, nothing is cut off.
    with pd.option_context("styler.render.max_elements", max(1, frame.size) * 2):
        return styler.to_html(
            exclude_styles=True,
            max_rows=max(1, len(frame)),
            max_columns=len(names),
            table_style=_TABLE,
            caption_style=_CAPTION,
            row_style=_ROW,
            rule_style=_RULE,
            line_style=_LINE,
            head_styles=_head_styles(seen, dict(zip(names, words, strict=True)), whole),
            cell_styles=[_WHOLE if name in whole else _BROKEN for name in seen],
            lines=[names.index(name) for name in lines if name in names],
            indented=int(bool(seen) and seen[0] in whole and len(seen) > 1),
            empty=escaped(empty),
        )


def text_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str], width: int
) -> list[str]:
    """Return cells as lines of ``width`` characters, more where words are longer; nothing is cut off.

    A row's note, where it has one, follows below it.
    """
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    least = [
        min(_LONGEST_WORD, max(len(word) for cell in (name, *cells) for word in cell.split() or [""]))
        for name, *cells in zip(columns, *rows, strict=True)
    ]
    width = max(width, sum(least) + 2 * len(least))
    ruled = Box(f"{_BLANK * 2} -  \n{_BLANK * 5}", ascii=True)
    table = Table(box=ruled, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name, length in zip(columns, least, strict=True):
        table.add_column(Text(name), min_width=length, overflow="fold")
    for row, note in zip(rows, notes, strict=True):
        table.add_row(*map(Text, row))
        if note:
            table.add_row(_NOTE)
    paper = io.StringIO()
    console = Console(file=paper, width=width, color_system=None, force_jupyter=False, force_terminal=False)
    console.print(table, crop=False)
    waiting = iter([note for note in notes if note])
    indent = " " * (least[0] + 2)
    lines: list[str] = []
    for line in paper.getvalue().splitlines():
        lines += wrapped(next(waiting), width - len(indent), indent) if _NOTE in line else [line.rstrip()]
    return lines


#: A line of a box that draws nothing; what stands in a note's place while rich lays the rows out: no cell
#: can hold it, because it cannot be seen.
_BLANK, _NOTE = "    \n", "\ue000"


@cache
def _styler() -> type[Styler]:
    from pandas.io.formats.style import Styler

    return Styler.from_custom_template(str(_TEMPLATES), html_table="table.html")


def _head_styles(seen: Sequence[str], words: Mapping[str, int], whole: Collection[str]) -> list[str]:
    """The style of each column's head, which keeps it as wide as its words need, as far as there is room."""
    wanted = {name: min(_LONGEST_WORD, words[name]) for name in seen}
    share = _SHARE_VW / (sum(wanted.values()) or 1)
    return [
        f"{_WHOLE};{_BOLD}"
        if name in whole
        else f"{_BROKEN};{_BOLD};min-width:min({length}ch,{share * length:.1f}vw)"
        for name, length in wanted.items()
    ]
