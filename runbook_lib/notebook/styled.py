"""The two forms of a table of cells: HTML, and text.

Both are inert whatever the cells contain, and show every cell in full. Styles are inline: see ``display``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len, set_cell_size

from .display import SANS, broken, escaped, visible, wrapped

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


def html_table(
    columns: Mapping[str, Sequence[Any]],
    make: Callable[[str, Any, int], str],
    texts: Mapping[str, Sequence[str]],
    *,
    caption: str,
    empty: str,
    lines: Collection[str] = (),
    marks: Collection[str] = (),
) -> str:
    """Return columns of values as HTML that says all in itself.

    It has no style sheet, no ids and no classes, as JupyterLab takes these out of a notebook that it does not
    trust.

    Parameters
    ----------
    columns
        Names and values.
    make
        Makes HTML of a column's name, one of its values, and how long its words may be.
    texts
        For each column, its name and its values as texts: how wide it should be.
    caption, empty
        What the table shows, and what it says where it has no rows. Plain text.
    lines
        Columns that are separate lines below their row.
    marks
        Columns of badges, whose words are never broken.
    """
    below = [name for name in columns if name in lines]
    beside = {name: _Column.of(texts[name], is_marked=name in marks) for name in columns if name not in lines}
    longest = dict.fromkeys(below, _LONGEST_WORD) | _shares(beside)
    widths = _widths([*beside.values()], [longest[name] for name in beside])
    heads = [
        f'<th scope="col" style="{_HEAD};{width}">{broken(name, longest[name])}</th>'
        for name, width in zip(beside, widths, strict=True)
    ]
    indented = next(iter(beside), "") == "Step"
    indent = f'<td style="{_LINE}"></td>' if indented else ""
    line = f'<td colspan="{len(beside) - indented}" style="{_LINE}">'
    body = []
    for place in range(len(next(iter(columns.values()), ()))):
        cells = {name: make(name, values[place], longest[name]) for name, values in columns.items()}
        tds = [f'<td style="{_CELL}">{cells[name]}</td>' for name in beside]
        body += [f'<tr style="{_ROW};{_RULE}">', *tds, "</tr>"]
        body += [f'<tr style="{_ROW}">{indent}{line}{cells[name]}</td></tr>' for name in below if cells[name]]
    if not body:
        whole = f'<td colspan="{len(beside)}" style="{_LINE}">{escaped(empty)}</td>'
        body = [f'<tr style="{_ROW};{_RULE}">{whole}</tr>']
    return "\n".join(
        [
            f'<table style="{_TABLE}">',
            f'<caption style="{_CAPTION}">{broken(caption)}</caption>',
            *("<thead>", f'<tr style="{_ROW}">', *heads, "</tr>", "</thead>"),
            *("<tbody>", *body, "</tbody>", "</table>"),
        ]
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
    least, longest = [], []
    for cells in zip(columns, *rows, strict=True):
        words = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
        least.append(min(_LONGEST_WORD, words))
        longest.append(max(map(cell_len, cells)))
    between = 2
    widths = _fitting(least, longest, width - between * (len(least) - 1))
    lines = [*_beside(columns, widths, between), (" " * between).join("-" * width for width in widths)]
    indent = " " * (least[0] + between)
    for row, note in zip(rows, notes, strict=True):
        lines += _beside(row, widths, between)
        lines += wrapped(note, max(width, sum(widths)) - len(indent), indent) if note else []
    return lines


def _fitting(least: Sequence[int], longest: Sequence[int], room: int) -> list[int]:
    """Return widths that fit into ``room`` together, if the least ones do: the widest columns give way."""

    def below(most: int) -> list[int]:
        return [max(few, min(many, most)) for few, many in zip(least, longest, strict=True)]

    return below(bisect_right(range(max(0, room)), room, key=lambda most: sum(below(most))) - 1)


def _beside(cells: Sequence[str], widths: Sequence[int], between: int) -> list[str]:
    """Return cells side by side, in as many lines as the longest takes."""
    broken_up = [
        [cell] if cell_len(cell) <= width else wrapped(cell, width)
        for cell, width in zip(cells, widths, strict=True)
    ]
    return [
        (" " * between).join(map(set_cell_size, parts, widths)).rstrip()
        for parts in zip_longest(*broken_up, fillvalue="")
    ]


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
