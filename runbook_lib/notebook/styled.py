"""The two forms of a table of cells: HTML as pandas' Styler makes it, text as rich lays it out.

Both are inert whatever the cells contain, and show every cell in full. Styles are inline: see ``display``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from .display import SANS, broken, escaped, visible, wrapped

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

_TEMPLATES = Path(__file__).parent / "templates"
#: The room of a table: what JupyterLab leaves beside its file list and a scroll bar, or what a page says.
_ROOM, _PADDING_PX = "var(--runbook-room, calc(100vw - 470px))", 6
#: Smaller letters where there is little room. The first size is for a notebook that is not trusted.
_SIZE = f"font-size:13px;font-size:clamp(11px, calc(9px + {_ROOM} * 0.006), 13px)"
_TABLE = (
    f"{SANS};{_SIZE};line-height:1.4;border-collapse:collapse;margin:10px 0;table-layout:auto;"
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
_HEAD = f"{_CELL};font-weight:600;box-sizing:content-box"
#: Characters and columns that fit side by side in JupyterLab at 800 pixels with its file list open.
_NARROWEST = 38
#: A column is at least as wide as its words of up to this many characters, if there is room for all columns.
_WHOLE_WORDS = 16
#: How much wider, in characters, a badge is than its words.
_BADGE = 4
#: The shortest part of a word, and what is left of an address or a number where there is room for as much.
_LEAST, _FAIR = 4, 6
#: How wide, in ``ch`` of a bold head, a letter is on average: in a badge, and in a part of a broken word.
_MARK_CH, _PART_CH = 0.83, 0.92
#: … and those that are not as the average; how much wider they are in a head.
_LETTER_CH = dict.fromkeys("fijlrtI.,:;!'|()[]-/", 0.55) | dict.fromkeys("mwMW@%—", 1.35)
_BOLD = 1.15
#: A word of letters, with punctuation around it: addresses, ids and numbers are none.
_PLAIN = re.compile(r"[^\w\s]{0,2}[^\W\d_]+[^\w\s]{0,2}")
#: … and the room for whole words, in ``ch``, with what is between two columns.
_NARROWEST_CH, _BETWEEN_CH = 43.0, 0.8
#: Characters that fit side by side on a page of 800 pixels without a file list.
_WIDE = 80
#: A word of up to this length is not broken in text.
_LONGEST_WORD = 30
#: So wide is text that goes to no terminal.
NO_TERMINAL = 120


def load_templates() -> None:
    """Load what makes tables, so that copies of this process have it."""
    import pandas as pd

    styled_html(pd.DataFrame({"": [""]}), [lambda text, longest: text], [[""]], caption="", empty="")
    text_table([""], [[""]], [""], NO_TERMINAL)


def styled_html(
    frame: pd.DataFrame,
    formats: Sequence[Callable[..., str]],
    texts: Sequence[Sequence[str]],
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
    texts
        For each column, its name and its values as texts: how wide it should be.
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
    columns = {
        name: _Column.of(cells, is_marked=name in marks)
        for name, cells in zip(names, texts, strict=True)
        if name not in lines
    }
    longest = dict.fromkeys(lines, _LONGEST_WORD) | _shares(columns)
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
            widths=_widths([*columns.values()], [longest[name] for name in seen]),
            lines=[names.index(name) for name in lines if name in names],
            indented=int(seen[:1] == ["Step"]),
            empty=escaped(empty),
        )


def whole_columns(texts: Sequence[Sequence[str]], marked: Sequence[bool], fewest: int) -> int:
    """Return how many of the first columns are side by side in the narrowest page with their words whole.

    ``texts`` has each column's name and values. The ``fewest`` are always side by side.
    """
    columns = [_Column.of(cells, is_marked=mark) for cells, mark in zip(texts, marked, strict=False)]
    widths = [max(column.plain_ch, _LEAST) + _BETWEEN_CH for column in columns]
    while len(widths) > fewest and sum(widths) > _NARROWEST_CH:
        widths.pop()
    return len(widths)


def text_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str], width: int
) -> list[str]:
    """Return cells as lines of ``width`` cells of a terminal, more where words need it; none is cut off.

    A row's note, where it has one, follows below it.
    """
    from rich.box import Box
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


@dataclass(frozen=True)
class _Column:
    """The longest word of a column, and the longest one of letters alone: in characters, and in ``ch``.

    Of marks, which are never broken, both are the same.
    """

    word: int
    plain: int
    word_ch: float
    plain_ch: float
    is_marked: bool = False

    @classmethod
    def of(cls, texts: Sequence[str], *, is_marked: bool) -> _Column:
        """Return the column of a name and its values."""
        head, *body = ({*visible(text).split()} for text in texts)
        words = head.union(*body)
        longest = max(map(cell_len, words), default=0)
        if is_marked:
            longest += _BADGE
            return cls(longest, longest, _MARK_CH * longest, _MARK_CH * longest, is_marked)
        plain = [word for word in words if len(word) <= _WHOLE_WORDS and _PLAIN.fullmatch(word)]
        widths = {word: _width_ch(word) * (_BOLD if word in head else 1.0) for word in words}
        return cls(
            longest,
            max(map(len, plain), default=0),
            max(widths.values(), default=0.0),
            max((widths[word] for word in plain), default=0.0),
        )


def _width_ch(word: str) -> float:
    """How wide a word is, or as much of it as is kept whole where there is room, in ``ch`` of a head."""
    letters = (_LETTER_CH.get(letter, 1.0 if letter.isupper() else 0.9) for letter in word[:_WHOLE_WORDS])
    return sum(letters) + 0.3


def _shares(columns: Mapping[str, _Column]) -> dict[str, int]:
    """The length of the longest part of a word that each column has room for in the narrowest page.

    Marks, which are never broken, come first, then words of letters, then addresses and numbers; a small
    column leaves its room to the others.
    """
    shares = {name: column.word for name, column in columns.items() if column.is_marked}
    left = _NARROWEST - len(columns) - sum(shares.values())
    others = {name: column for name, column in columns.items() if not column.is_marked}
    fair = max(_LEAST, min(_FAIR, left // max(1, len(others))))
    for place, name in enumerate(sorted(others, key=lambda name: others[name].plain)):
        share = min(others[name].plain, left // (len(others) - place))
        shares[name] = max(_LEAST, min(fair, others[name].word), share)
        left -= shares[name]
    missing = {name: max(0, column.word - shares[name]) for name, column in others.items()}
    for place, name in enumerate(sorted(missing, key=missing.__getitem__)):
        more = max(0, min(missing[name], left // (len(others) - place)))
        shares[name] += more
        left -= more
    return shares


def _widths(columns: Sequence[_Column], least: Sequence[int]) -> list[str]:
    """The style of each column's head: it keeps words whole where the page has the room for it.

    What the longest unbroken parts (``least``) leave of it goes to words of letters first, then to others.
    Marks are never broken, so their columns give nothing up. JupyterLab drops this from a notebook that it
    does not trust.
    """
    needed = [
        column.word_ch if column.is_marked else _PART_CH * part
        for column, part in zip(columns, least, strict=True)
    ]
    plain = [max(column.plain_ch, part) for column, part in zip(columns, needed, strict=True)]
    wanted = [max(column.word_ch, part) for column, part in zip(columns, plain, strict=True)]
    shares, left = [*wanted], float(_WIDE)
    for place, number in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        shares[number] = min(wanted[number], left / (len(wanted) - place))  # the long ones give way first
        left -= shares[number]
    first = [width - part for width, part in zip(plain, needed, strict=True)]
    then = [max(0.0, share - width) for share, width in zip(shares, plain, strict=True)]
    room = f"({_ROOM} - {_PADDING_PX * len(columns)}px)"
    parts = ((0.0, needed), (sum(needed), first), (sum(needed) + sum(first), then))
    return [
        f"min-width:calc({' + '.join(_part(room, taken, all_wanted, place) for taken, all_wanted in parts)})"
        for place in range(len(columns))
    ]


def _part(room: str, taken: float, wanted: Sequence[float], place: int) -> str:
    """A column's part of the room that is left after ``taken`` (in ``ch``): what it wants, or its share."""
    if not wanted[place]:
        return "0px"
    return f"max(0px,min({wanted[place]:.4g}ch,({room} - {taken:.4g}ch)*{wanted[place] / sum(wanted):.4f}))"
