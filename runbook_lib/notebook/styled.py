"""The two forms of a table of cells: HTML as pandas' Styler makes it, text as rich lays it out.

Both are inert whatever the cells contain, and show every cell in full. Styles are inline: see ``display``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from .display import SANS, broken, escaped, wrapped

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

_TEMPLATES = Path(__file__).parent / "templates"
_TABLE = (
    f"{SANS};font-size:13px;line-height:1.4;border-collapse:collapse;margin:10px 0;table-layout:auto;"
    "width:auto;min-width:85%;max-width:100%"
)
_CAPTION = (
    "caption-side:top;text-align:left;font-weight:600;font-size:14px;padding:2px 0 6px;color:inherit;"
    "white-space:normal"
)
#: JupyterLab shades every second row: without this, a note would be shaded differently from its row.
_ROW = "background-color:transparent"
_RULE = "border-top:1px solid rgba(128,128,128,0.35)"
_CELL = "text-align:left;vertical-align:top;padding:3px 6px 3px 0;max-width:30em;white-space:normal"
_LINE = f"{_CELL};padding-top:0;max-width:none;opacity:0.85"
_HEAD = f"{_CELL};font-weight:600"
#: Characters and columns that fit side by side in JupyterLab at 800 pixels with its file list open.
_NARROWEST = 38
#: A column is at least as wide as its words of up to this many characters, if there is room for all columns.
_WHOLE_WORDS = 16
#: How wide, in ``ch`` of a bold head, a letter is on average: in a badge, and in a part of a broken word.
_MARK_CH, _PART_CH = 0.8, 0.9
#: Characters that fit side by side on a page of 800 pixels without a file list.
_WIDE = 80
#: The room of a table: what JupyterLab leaves beside its file list and a scroll bar, or what a page says.
_ROOM, _PADDING_PX = "var(--runbook-room, calc(100vw - 470px))", 6
#: A word of up to this length is not broken in text.
_LONGEST_WORD = 30
#: So wide is text that goes to no terminal.
NO_TERMINAL = 120


def load_templates() -> None:
    """Load what makes tables, so that copies of this process have it."""
    import pandas as pd

    styled_html(pd.DataFrame({"": [""]}), [lambda text, longest: text], [1], caption="", empty="")
    text_table([""], [[""]], [""], NO_TERMINAL)


def styled_html(
    frame: pd.DataFrame,
    formats: Sequence[Callable[..., str]],
    words: Sequence[int],
    *,
    caption: str,
    empty: str,
    lines: Collection[str] = (),
    marks: Collection[str] = (),
) -> str:
    """Return a frame as HTML.

    Parameters
    ----------
    formats
        For each column, what makes HTML of a value, called with it and ``longest``: no word is longer.
    words
        For each column, the length of its longest word.
    caption, empty
        What the table shows, and what it says where it has no rows. Plain text.
    lines
        Columns that are separate lines below their row.
    marks
        Columns of badges, whose words are never broken.
    """
    import pandas as pd  # takes half a second, so only who shows a table pays for it

    names = list(frame.columns)
    seen = [name for name in names if name not in lines]
    longest_words = dict(zip(names, words, strict=True))
    longest = dict.fromkeys(lines, _LONGEST_WORD)
    longest |= _shares({name: longest_words[name] for name in seen})
    formatters = {
        name: partial(make, longest=longest[name]) for name, make in zip(names, formats, strict=True)
    }
    styler = _styler()(frame).format(formatters).set_caption(broken(caption))
    styler = styler.hide(axis="index").hide([name for name in names if name in lines], axis="columns")
    # Nothing is cut off, whatever the reader's own options say.
    with pd.option_context("styler.render.max_elements", 2 * max(1, frame.size)):
        return styler.to_html(
            exclude_styles=True,
            max_rows=max(1, len(frame)),
            max_columns=len(names),
            table_style=_TABLE,
            caption_style=_CAPTION,
            row_style=_ROW,
            rule_style=_RULE,
            head_style=_HEAD,
            cell_style=_CELL,
            line_style=_LINE,
            names=[broken(name, longest[name]) for name in seen],
            widths=_widths(
                [longest_words[name] for name in seen],
                [longest[name] for name in seen],
                [name in marks for name in seen],
            ),
            lines=[names.index(name) for name in lines if name in names],
            indented=int(seen[:1] == ["Step"]),
            empty=escaped(empty),
        )


def text_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str], width: int
) -> list[str]:
    """Return cells as lines of ``width`` cells of a terminal, more where words need it; none is cut off.

    A row's note, where it has one, follows below it.
    """
    from rich.box import Box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    least = [
        min(_LONGEST_WORD, max(cell_len(word) for cell in (name, *cells) for word in cell.split() or [""]))
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


def _shares(words: Mapping[str, int]) -> dict[str, int]:
    """The length of the longest word that each column has room for: a small one leaves it to the others."""
    room, shares = _NARROWEST - len(words), {}
    for place, name in enumerate(sorted(words, key=words.__getitem__)):
        shares[name] = max(4, min(words[name], room // (len(words) - place)))
        room -= shares[name]
    return shares


def _widths(words: Sequence[int], least: Sequence[int], marked: Sequence[bool]) -> list[str]:
    """The style of each column's head: it keeps words whole where the page has the room for it.

    Where it has not, the columns share what their longest unbroken parts (``least``) do not need. Marks are
    never broken, so their columns give nothing up. JupyterLab drops this from a notebook that it does not
    trust.
    """
    wanted, needed = [], []
    for word, part, is_marked in zip(words, least, marked, strict=True):
        wanted.append(_MARK_CH * word if is_marked else min(word, _WHOLE_WORDS) + 0.5)
        needed.append(_MARK_CH * word if is_marked else _PART_CH * min(part, _WHOLE_WORDS))
    shares, left = [*wanted], float(_WIDE)
    for place, column in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[column] = min(wanted[column], left / (len(wanted) - place))  # the long ones give way first
        left -= shares[column]
    more = [max(0.0, share - width) for share, width in zip(shares, needed, strict=True)]
    spare, parts = f"({_ROOM} - {_PADDING_PX * len(words)}px - {sum(needed):g}ch)", sum(more) or 1.0
    return [
        f"min-width:min({width:g}ch, calc({part:g}ch + {spare} * {share / parts:.4f}))"
        for width, part, share in zip(wanted, needed, more, strict=True)
    ]
