"""Pictures of the paths that calls take, as inline SVG.

Strokes and free text use the page's colour, and boxes have their own background, so the pictures
work on light and dark pages and on paper. There are no ids and no style sheet, because several pictures
can be on one page. The same content is given in words below each picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from ..call_paths import CallPath, Passage
from ..call_paths import Hop as CallHop
from .display import SANS, Shown, escaped, heading, visible, wrapped

#: Label, SIP URI, priority, weight, enabled.
Hop = tuple[str, str, int, int, bool]

WIDTH = 920
_TWILIO, _URI, _OFF, _PBX, _PEOPLE = "#b3152b", "#1f5f99", "#6b7280", "#0f6b52", "#4b5563"
_EDGES = {
    "us1": "Virginia",
    "us2": "Oregon",
    "ashburn": "Virginia",
    "umatilla": "Oregon",
    "ie1": "Ireland",
    "dublin": "Ireland",
    "de1": "Germany",
    "frankfurt": "Germany",
}


@dataclass(frozen=True, repr=False)
class Picture(Shown):
    """An SVG with its title and its description in words."""

    title: str
    description: tuple[str, ...]
    svg: str

    def headed(self, owner: str, read: str = "") -> Self:
        """Return the same picture with ``owner`` before its title."""
        return replace(self, title=heading(owner, self.title, read))

    def html(self) -> str:
        words = "".join(f"<li>{escaped(line)}</li>" for line in self.description)
        return (
            f'<figure style="{SANS};margin:10px 0;max-width:{WIDTH}px">{self.svg}'
            f'<figcaption style="font-size:13px;line-height:1.45;overflow-wrap:anywhere">'
            f"<b>{escaped(self.title)}</b>"
            f'<ol style="margin:4px 0 0;padding-left:22px">{words}</ol></figcaption></figure>'
        )

    def text(self) -> str:
        lines = [f"  {number}. {visible(line)}" for number, line in enumerate(self.description, 1)]
        return "\n".join([visible(self.title), *lines])


def call_path(hops: Sequence[Hop], host: str, trunk: str = "SIP trunk") -> Picture:
    """Return the path of inbound calls: caller, Twilio, origination URIs in failover order, PBX.

    Parameters
    ----------
    hops
        The origination URIs in the order in which Twilio tries them.
    host
        The PBX's address, as people know it.
    trunk
        The name of the trunk at Twilio.
    """
    title = "Inbound calls: from Twilio to the PBX, in failover order"
    description = tuple(_in_words(place, hop) for place, hop in _places(hops)) or (
        "No origination URI is set: inbound calls fail.",
    )
    pitch, top = 92, 16
    height = top + max(1, len(hops)) * pitch + 4
    middle = top + (height - top - 4) / 2 - 8
    parts = [
        _box(4, middle - 32, 104, 64, _PEOPLE, ("Caller",)),
        _arrow(108, middle, 148, middle),
        _box(152, middle - 38, 150, 76, _TWILIO, ("Twilio", *_folded(trunk, 20))),
        _box(790, middle - 32, 126, 64, _PBX, ("PBX", _short(host, 17))),
    ]
    for index, (place, hop) in enumerate(_places(hops)):
        y = top + index * pitch + 38
        parts += _hop(y, middle, place, hop)
    return Picture(title, description, _svg(height, title, description, parts))


def outbound_path(termination_uri: str, host: str, address: str, user: str | None) -> Picture:
    """Return the path of outbound calls: PBX, what Twilio checks, trunk, public network."""
    checks = [f"the source address is {address}", *([f"the credentials are those of {user}"] if user else [])]
    title = "Outbound calls: from the PBX to Twilio"
    description = (
        f"The PBX ({host}) sends the call to {termination_uri}.",
        f"Twilio accepts it only if {' and '.join(checks)}.",
        "Twilio passes the call to the public telephone network.",
    )
    shown = (f"source is {address}", *([f"user is {user}"] if user else []))
    parts = [
        _box(4, 24, 150, 64, _PBX, ("PBX", _short(host, 19))),
        _arrow(154, 56, 196, 56),
        _box(200, 24, 300, 64, _TWILIO, ("Twilio", _short(termination_uri, 42))),
        _arrow(500, 56, 542, 56),
        _box(546, 14, 200, 84, _URI, ("accepted only if", *(_short(line, 27) for line in shown))),
        _arrow(746, 56, 788, 56),
        _box(792, 24, 124, 64, _PEOPLE, ("Telephone", "network")),
    ]
    return Picture(title, description, _svg(112, title, description, parts))


#: Colour and symbol of a hop; the words below it carry the meaning too.
_PASSAGES = {
    Passage.PASSES: ("#1a7f37", "✓"),
    Passage.DIFFERS: ("#9a6700", "!"),
    Passage.STOPS: ("#b3152b", "✗"),
    Passage.SOME_STOP: ("#b3152b", "✗"),
    Passage.UNKNOWN: ("#57606a", "?"),
}


def path_states(first: tuple[str, CallPath], *further: tuple[str, CallPath]) -> Picture:
    """Return the way of a call once or more below each other, such as before and after a plan.

    Each path has its caption. The hop where calls stop is marked; the way behind it is dashed if all do.
    """
    paths = (first, *further)
    is_inbound = first[1].is_inbound
    title = "Calls in: from the caller to the extension" if is_inbound else "Calls out: from the extension"
    parts: list[str] = []
    for index, (caption, path) in enumerate(paths):
        parts += _path_row(28 + index * 158, caption, path)
    description = tuple(_path_in_words(caption, path) for caption, path in paths)
    return Picture(title, description, _svg(len(paths) * 158, title, description, parts))


def _path_row(top: float, caption: str, path: CallPath) -> list[str]:
    ends = ("Caller", "Extension") if path.is_inbound else ("Extension", "Network")
    parts = [
        f'<text x="4" y="{top - 8:g}" fill="currentColor" font-size="13.5" font-weight="600">'
        f"{escaped(caption)}</text>"
    ]
    width, gap, y = 118, 14, top + 34
    reached = True
    for place in range(len(path.hops) + 2):
        x = 4 + place * (width + gap)
        if place:
            parts.append(_arrow(x - gap, y, x - 1, y, dashed=not reached))
        if place in (0, len(path.hops) + 1):
            parts.append(_box(x, top, width, 68, _PEOPLE, (ends[place > 0],)))
            continue
        hop = path.hops[place - 1]
        colour, symbol = _PASSAGES[hop.passage]
        parts.append(_box(x, top, width, 68, colour, (hop.name, f"{symbol} {hop.passage}")))
        if hop.passage is not Passage.PASSES:
            parts += [
                _label(x + width / 2, top + 86 + 15 * line, words)
                for line, words in enumerate(wrapped(visible(hop.why), 18))
            ]
        reached = reached and hop.passage is not Passage.STOPS
    return parts


def _path_in_words(caption: str, path: CallPath) -> str:
    def named(hop: CallHop) -> str:
        return f"{hop.name.lower()} ({', '.join(hop.steps)}): {hop.why}"

    stop = path.stop
    aside = (Passage.DIFFERS, Passage.UNKNOWN, Passage.SOME_STOP)
    differs = [named(hop) for hop in path.hops if hop.passage in aside and hop is not stop]
    who = "some calls stop" if stop is not None and stop.passage is Passage.SOME_STOP else "a call stops"
    said = "no setting stops a call" if stop is None else f"{who} at the {named(stop)}"
    return f"{caption}: {said}{'; ' if differs else ''}{'; '.join(differs)}."


def _places(hops: Sequence[Hop]) -> list[tuple[str, Hop]]:
    """Each hop with its place in the failover order; those that are switched off have none."""
    places, tried = [], 0
    previous: int | None = None
    for hop in hops:
        if not hop[4]:
            places.append(("off", hop))
            continue
        tried += previous != hop[2]
        previous = hop[2]
        places.append((("1st", "2nd", "3rd")[tried - 1] if tried <= 3 else f"{tried}th", hop))
    return places


def _in_words(place: str, hop: Hop) -> str:
    label, url, priority, weight, _ = hop
    if place == "off":
        return f"{_named(label)}: {url}: switched off, never tried"
    when = "tried first" if place == "1st" else f"tried {place}, when the URIs before it cannot deliver"
    return f"{_named(label)}: {url}: {when} (priority {priority}, weight {weight})"


def _named(label: str) -> str:
    return f"{label} ({_EDGES[label]})" if label in _EDGES else label


def _hop(y: float, middle: float, place: str, hop: Hop) -> list[str]:
    label, url, priority, weight, enabled = hop
    tried = {"1st": "tried first", "off": "switched off"}.get(place, f"tried {place}")
    colour = _URI if enabled else _OFF
    return [
        _arrow(302, middle, 356, y, dashed=place != "1st"),
        _box(360, y - 32, 374, 64, colour, (f"{_named(label)} · {tried}", _short(url, 52))),
        _label(547, y + 48, f"priority {priority} · weight {weight}"),
        *([_arrow(734, y, 786, middle, dashed=place != "1st")] if enabled else []),
    ]


def _box(x: float, y: float, width: float, height: float, colour: str, lines: Sequence[str]) -> str:
    first = y + height / 2 - (len(lines) - 1) * 10 + 4.5
    words = "".join(
        f'<text x="{x + width / 2:g}" y="{first + 20 * index:g}" text-anchor="middle" fill="#ffffff" '
        f'font-size="{14 if index == 0 else 12.5}" font-weight="{600 if index == 0 else 400}">'
        f"{escaped(line)}</text>"
        for index, line in enumerate(lines)
    )
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" fill="{colour}"/>{words}'


def _arrow(x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False) -> str:
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    # The head is drawn, not a marker: a marker needs an id, and ids clash between pictures.
    bx, by = x2 - 10 * dx, y2 - 10 * dy
    head = f"{x2:.1f},{y2:.1f} {bx - 5 * dy:.1f},{by + 5 * dx:.1f} {bx + 5 * dy:.1f},{by - 5 * dx:.1f}"
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{bx:.1f}" y2="{by:.1f}" '
        f'stroke="currentColor" stroke-width="2"{dash}/>'
        f'<polygon points="{head}" fill="currentColor"/>'
    )


def _label(x: float, y: float, text: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="currentColor" font-size="12.5">'
        f"{escaped(text)}</text>"
    )


def _folded(text: str, length: int) -> tuple[str, ...]:
    """A host name in two lines where one is too short for it: its label, and the rest."""
    if len(text) <= length or "." not in text:
        return (_short(text, length),)
    label, _, rest = text.partition(".")
    return (_short(label, length), _short(f".{rest}", length))


def _short(text: str, length: int) -> str:
    """Fit text into a box; the words below the picture show it in full."""
    shown = visible(text)
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def _svg(height: float, title: str, description: Sequence[str], parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" width="100%" '
        f'aria-label="{escaped(title)}" style="{SANS};color:inherit;display:block;max-width:{WIDTH}px">'
        f"<title>{escaped(title)}</title><desc>{escaped(' '.join(description))}</desc>{''.join(parts)}</svg>"
    )
