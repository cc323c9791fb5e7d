"""Things that a cell can show: the same content as HTML for a page and as text for a terminal.

Styles are inline, with colours that work on light and dark pages: JupyterLab drops style
sheets from notebooks that it does not trust, and a record is read in many places.
"""

from __future__ import annotations

import html
import re
import textwrap
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from rich.cells import cell_len, chop_cells

from ..secret import scrub

if TYPE_CHECKING:
    from ..records.waits import Wait

WIDTH = 100
SANS = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif"

#: Preferred places for a line break: after an element of a list, and between the labels of an address.
_ENDS = re.compile(r"(?<=[;,/@])|(?<=\.)(?=[A-Za-z])")
#: Characters that occur in no visible text, marking such a break, and a word that has one.
_MAY_END, _WORD, _END_OF_WORD = "\ue000", "\ue001", "\ue002"
_MARKS = {_MAY_END: "<wbr>", _WORD: '<span style="display:inline-block">', _END_OF_WORD: "</span>"}
#: A longer word, such as a digest, fits on few lines: as a block it would leave the ends of several empty.
_LONGEST_WHOLE = 64

#: A window from this width on has room for whole words side by side.
_ROOMY_PX = 1100

#: Frame colour, symbol and word of each kind of box. The word carries the meaning too.
TONES = {
    "good": ("#1a7f37", "✓"),
    "info": ("#3b6fb6", "i"),
    "caution": ("#9a6700", "!"),
    "stop": ("#cf222e", "✗"),
}


def visible(text: str) -> str:
    """Return text with every character that cannot be seen, or that moves others, made visible.

    Control characters (the escape of a terminal sequence, line ends), right-to-left marks,
    zero-width characters and lone surrogates become their code point; a joiner inside a word or an
    emoji is spelling and stays. Nothing is omitted except secrets: they are removed here, before the
    text is wrapped and a filter could miss them.
    """
    text = scrub(text)
    if text.isprintable():
        return text
    around = zip(" " + text, text, text[1:] + " ", strict=False)
    return "".join(
        one if one in _JOINERS and _are_joined(before, after) else _visible_character(one)
        for before, one, after in around
    )


def escaped(text: str) -> str:
    """Return text for HTML: visible and escaped, also for attributes."""
    return html.escape(visible(text), quote=True)


#: ZERO WIDTH NON-JOINER and JOINER.
_JOINERS = "\u200c\u200d"
#: Where Unicode has its emoji, also those that this version of Python does not know yet.
_EMOJI = range(0x1F000, 0x1FB00)
_VIRAMA = 9  # the canonical combining class of the sign that joins consonants in scripts of India


def _are_joined(before: str, after: str) -> bool:
    """Whether a joiner between two characters is spelling: in Arabic script, beside a virama, in emoji."""
    if unicodedata.combining(before) == _VIRAMA or unicodedata.combining(after) == _VIRAMA:
        return True
    if unicodedata.bidirectional(before) in ("AL", "NSM") and unicodedata.bidirectional(after) == "AL":
        return True
    joins = before == "\ufe0f" or unicodedata.category(before) in ("So", "Sk")
    return joins and unicodedata.category(after) == "So"


def broken(text: str, longest: int = 32) -> str:
    """Return text for HTML in which a line may end within words that are longer than ``longest``.

    It ends before such a word if that then fits on a line, so the word is a separate block in the line.
    JupyterLab drops the style that would do both (``overflow-wrap: anywhere``) from a notebook that it does
    not trust.
    """

    def ends(word: re.Match[str]) -> str:
        parts = _ENDS.sub(_MAY_END, word[0]).split(_MAY_END)
        whole = _MAY_END.join(
            part[start : start + longest] for part in parts for start in range(0, len(part), longest)
        )
        is_block = word.start() > 0 and len(word[0]) <= _LONGEST_WHOLE
        return f"{_WORD}{whole}{_END_OF_WORD}" if is_block else whole

    marked = html.escape(re.sub(rf"\S{{{longest + 1},}}", ends, visible(text)), quote=True)
    for mark, tag in _MARKS.items():
        marked = marked.replace(mark, tag)
    return marked


def _visible_character(character: str) -> str:
    category = unicodedata.category(character)
    if character.isprintable() or category == "Zs" or (category == "Cn" and ord(character) in _EMOJI):
        return character
    return f"⟨U+{ord(character):04X}⟩"


def marked_down(text: str) -> str:
    """Return text for Markdown: visible, in one line, and without anything that Markdown or HTML acts on."""
    inert = re.sub(r"([\\`*_{}\[\]#|~])", r"\\\1", visible(text))
    # At the beginning of a line alone; dates and numbers stay legible where nobody renders it.
    inert = re.sub(r"^(\s*)([>+-])", r"\1\\\2", inert)
    return inert.replace("&", "&amp;").replace("<", "&lt;")


class Shown:
    """Something with an HTML form, a text form and a Markdown form."""

    def html(self) -> str:
        """Return a self-contained piece of HTML."""
        raise NotImplementedError

    def text(self) -> str:
        """Return plain text."""
        raise NotImplementedError

    def markdown(self) -> str:
        """Return Markdown, for viewers that show no HTML."""
        return "\n".join(f"    {line}" for line in self.text().splitlines())

    def headed(self, owner: str, read: str = "") -> Self:
        """Return the same with a heading that names its owner and when it was read, if it has a heading."""
        return self

    def _repr_html_(self) -> str:
        return self.html()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": self.text(), "text/markdown": self.markdown(), "text/html": self.html()}

    def __repr__(self) -> str:
        return self.text()


@dataclass(frozen=True, repr=False)
class Box(Shown):
    """A short message in a frame: ``tone`` is a key of ``TONES``; plain text, escaped here."""

    tone: str
    title: str
    lines: tuple[str, ...] = ()

    def headed(self, owner: str, read: str = "") -> Self:
        """Return the same box with ``owner``, such as ``demo/acme``, before its title, and behind it when."""
        return replace(self, title=heading(owner, self.title, read))

    def html(self) -> str:
        colour, symbol = TONES[self.tone]
        lines = "".join(f'<div style="margin-top:2px">{broken(line)}</div>' for line in self.lines)
        return (
            f'<div style="{SANS};font-size:14px;line-height:1.45;border-left:5px solid {colour};'
            f'padding:6px 12px;margin:8px 0;background:rgba(128,128,128,0.1);overflow-wrap:anywhere">'
            f"<div><b>{badge(symbol, colour)} {broken(self.title)}</b></div>{lines}</div>"
        )

    def markdown(self) -> str:
        _, symbol = TONES[self.tone]
        title = f"**{marked_down(symbol)} {marked_down(self.title)}**"
        return "\n".join([title, *(f"\n{marked_down(line)}" for line in self.lines)])

    def text(self) -> str:
        _, symbol = TONES[self.tone]
        lines = [f"[{symbol}] {visible(self.title)}"]
        for line in self.lines:
            lines += wrapped(visible(line), WIDTH - 4, indent="    ")
        return "\n".join(lines)


def utc(time: datetime | None = None) -> str:
    """Return a time, or now, as every page shows it: with its date, to the second, in UTC."""
    return f"{(time or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def describe_wait(wait: Wait) -> str:
    """Return what is waited for, since or until when, to follow "Now:"; true at whatever time it is shown."""
    attempt = ""
    if wait.attempt:
        attempt = f", attempt {wait.attempt}" + (f" of {wait.attempts}" if wait.attempts else "")
    if wait.last is not None:
        attempt += f" (the last one at {_utc_at(wait.last)} at the latest)"
    if wait.until is None:
        return f"waiting since {_utc_at(wait.since)}: {wait.why}"
    if wait.until > time.time():
        return f"waiting {max(1, round(wait.seconds))} s, until {_utc_at(wait.until)}: {wait.why}{attempt}"
    return f"{wait.why}; asked again at {_utc_at(wait.until)}{attempt}"


def _utc_at(seconds: float) -> str:
    return utc(datetime.fromtimestamp(seconds, UTC))


def heading(owner: str, title: str, read: str = "") -> str:
    """Return a heading: whose it is, what it is, and when it was read, where that is known."""
    return " · ".join(part for part in (owner, title, read) if part)


def badge(content: str, colour: str) -> str:
    """Return words on a solid background, so that they look the same on every page.

    In a narrow window a line may break within it, but not after its first word, which may be a symbol.
    """
    words = escaped(content).replace(" ", "&nbsp;", 1)
    width = f"min-width:clamp(0px,(100vw - {_ROOMY_PX}px)*999,{cell_len(content)}ch)"
    return (
        f'<span style="background-color:{colour};color:#ffffff;border-radius:3px;padding:1px 6px;'
        f'font-weight:600;display:inline-block;{width};print-color-adjust:exact">{words}</span>'
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return HTML of labelled values in one flowing line."""
    return "".join(
        f'<span style="display:inline-block;margin-right:22px;overflow-wrap:anywhere">'
        f'<span style="opacity:0.75">{escaped(label)}</span> <b>{broken(value)}</b></span>'
        for label, value in pairs
    )


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Return text in lines of ``width`` cells of a terminal; nothing is cut off."""
    if text.isascii():
        lines = textwrap.wrap(text, width, break_long_words=True, break_on_hyphens=False) or [""]
        return [indent + line for line in lines]
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines += chop_cells(word, width)
    return [indent + line for line in (lines if lines[0] else lines[1:])]
