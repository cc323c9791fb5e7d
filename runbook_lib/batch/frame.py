"""The frame of every page of records: style, banner, policy, and tables that a person can search.

A page contains everything that it needs. Its content security policy forbids requests, and every script but
the one below, so that text from a vendor has no effect, and reading a record notifies nobody.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..notebook.display import broken, escaped, visible
from ..outcomes import FAILED, SUCCEEDED
from ..plain_files import write_whole

_SYMBOLS = {SUCCEEDED: "✓", FAILED: "✗"}
_BANNERS = {
    "sandbox": "SANDBOX: both vendors are simulated; this is not a real telephone service",
    "live": "LIVE: made on a real Twilio account and a real PBX",
    "mixed": "LIVE and SANDBOX: each line says which",
}
#: Searches the rows of the page's tables; without scripts there is no field, and the tables are complete.
SCRIPT = """
const place = document.getElementById("search"), field = place.querySelector("input");
const rows = [...document.querySelectorAll("tbody tr")], folds = [...document.querySelectorAll("details")];
const texts = rows.map(row => `${row.textContent} ${row.dataset.run || ""}`.toLowerCase());
const wereOpen = folds.map(fold => fold.open);
const search = () => {
  const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
  rows.forEach((row, i) => { row.hidden = !words.every(word => texts[i].includes(word)); });
  folds.forEach((fold, i) => {
    fold.open = words.length ? !!fold.querySelector("tbody tr:not([hidden])") : wereOpen[i];
  });
  const left = rows.filter(row => !row.hidden).length;
  place.querySelector("output").textContent = words.length ? `${left} of ${rows.length} runs` : "";
};
field.addEventListener("input", search);
place.hidden = false;
search();
"""
_NOTHING_ELSE = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
#: The policy of any page of these, as a server sends it.
POLICY = f"{_NOTHING_ELSE}; script-src 'sha256-{_HASH}'"
SEARCH = (
    '<p id="search" hidden><label>Search <input type="search" autocomplete="off" '
    'placeholder="tenant, ticket, name, what changed"></label> <output role="status"></output></p>'
)
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --ground: #ffffff; --soft: #f6f8fa; --line: #d0d7de;
  --link: #0b57d0; --dim: #57606a; --bad: #b3152b; --runbook-room: min(1072px, 100vw - 64px); }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --ground: #14171a; --soft: #1f2428;
  --line: #3b424a; --link: #8ab4f8; --dim: #a4adb6; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--ground);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 8px 24px 48px; overflow-wrap: break-word; }
.banner { padding: 6px 24px; color: #fff; font-weight: 700; print-color-adjust: exact; }
.sandbox { background: #1f5f99; } .live, .mixed { background: #b3152b; }
nav { padding: 10px 24px 0; max-width: 1120px; margin: 0 auto; font-size: 14px; }
a { color: var(--link); }
:focus-visible { outline: 3px solid #2f7de1; outline-offset: 2px; }
h1 { font-size: 26px; line-height: 1.25; margin: 18px 0 8px; } h2 { font-size: 20px; margin: 28px 0 6px; }
h3 { font-size: 16px; margin: 20px 0 4px; }
blockquote { margin: 8px 0; padding: 4px 14px; border-left: 4px solid #767c85; background: var(--soft); }
blockquote.warning { border-color: #9a6700; }
blockquote p { margin: 4px 0; }
code { background: var(--soft); padding: 1px 4px; border-radius: 3px; font-size: 13px; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; line-height: 1.45; }
.input { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: 6px 10px;
  margin: 10px 0 4px; }
.output_error { border: 2px solid #cf222e; border-radius: 4px; padding: 8px 12px; margin: 8px 0; }
.output_error span[style] { color: inherit !important; }
.ansi-bold { font-weight: 700; } .ansi-red-fg, .ansi-red-intense-fg { color: var(--bad); }
.list { border-collapse: collapse; width: 100%; margin: 10px 0; font-size: 14px; }
.list th, .list td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
.list td.number, .list th.number { text-align: right; white-space: nowrap; }
.mark { border-radius: 3px; padding: 1px 7px; color: #fff; font-weight: 600; display: inline-block;
  print-color-adjust: exact; }
.succeeded { background: #1a7f37; } .failed { background: #cf222e; } .other { background: #57606a; }
.whole { white-space: nowrap; }
.dim { color: var(--dim); font-size: 13px; overflow-wrap: anywhere; }
summary { cursor: pointer; font-size: 17px; font-weight: 600; margin: 22px 0 4px; }
#search input { font: inherit; padding: 5px 8px; margin: 0 8px; width: min(26em, 60%); color: inherit;
  background: var(--ground); border: 1px solid #767c85; border-radius: 3px; }
@page { margin: 14mm; }
@media (max-width: 640px) { main { padding: 8px 12px 32px; } .list { font-size: 13px; }
  .list th, .list td { padding-right: 8px; overflow-wrap: anywhere; } }
@media print { nav, #search { display: none; } main { max-width: none; padding: 0; }
  h1, h2, h3, h4, summary, caption, thead, .input { break-after: avoid; }
  tr, caption, blockquote, .input, .output_html > div { break-inside: avoid; }
  tbody > tr:first-child { break-before: avoid; }
  details::details-content { content-visibility: visible; } details > summary { list-style: none; }
  :root { --ink: #000; --ground: #fff; --soft: #f6f8fa; --line: #ccc; --dim: #444; } }
"""


def _printed(title: str) -> str:
    """What each sheet of paper says: which page this is, and its number."""
    words = "".join(letter if letter.isalnum() else f"\\{ord(letter):x} " for letter in visible(title))
    return (
        f'@page {{ @bottom-left {{ content: "{words}"; font-size: 8pt }}'
        ' @bottom-right { content: counter(page) " / " counter(pages); font-size: 8pt } }'
    )


def page(title: str, target: str, body: str, navigation: str = "") -> str:
    """Return a whole page; ``target`` decides on its banner. A body with ``SEARCH`` gets its script."""
    banner = f'<header class="banner {target}">{_BANNERS[target]}</header>' if target in _BANNERS else ""
    navigation = f"<nav>{navigation}</nav>" if navigation else ""
    script = f"<script>{SCRIPT}</script>" if SEARCH in body else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY if script else _NOTHING_ELSE}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{_STYLE}{_printed(title)}</style></head><body>"
        f"{banner}{navigation}<main>{body}</main>{script}</body></html>\n"
    )


def write_html(path: Path, title: str, target: str, body: str, navigation: str = "") -> Path:
    """Write a whole page, and return its path."""
    write_whole(path, page(title, target, body, navigation).encode())
    return path


_ABSENT = '<span class="dim" title="absent">—</span>'


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], runs: Sequence[str] = (), name: str = ""
) -> str:
    """A table of HTML cells; a column whose name starts with # has numbers.

    ``runs`` are the names by which each row is found as well; ``name`` says what the table is. A cell
    without content is marked as absent.
    """
    kinds = [' class="number"' if column.startswith("#") else "" for column in columns]
    head = "".join(
        f'<th scope="col"{kind}>{escaped(column.lstrip("#"))}</th>'
        for column, kind in zip(columns, kinds, strict=True)
    )
    found_by = [f' data-run="{escaped(run)}"' for run in runs] or [""] * len(rows)
    lines = "".join(
        f"<tr{run}>"
        + "".join(f"<td{kind}>{cell or _ABSENT}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row, run in zip(rows, found_by, strict=True)
    )
    label = f' aria-label="{escaped(name)}"' if name else ""
    return f'<table class="list"{label}><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>'


def facts_table(pairs: Sequence[tuple[str, str]]) -> str:
    """A table of labelled values, without those that are empty."""
    items = "".join(
        f'<tr><th scope="row">{escaped(label)}</th><td>{broken(value)}</td></tr>'
        for label, value in pairs
        if value
    )
    return f'<table class="list" style="width:auto" aria-label="Facts"><tbody>{items}</tbody></table>'


def time_cell(text: str) -> str:
    """A time as ``moment`` writes it; neither its date nor its hours are split over two lines."""
    words = text.replace(" ", '</span> <span class="whole">')
    return f'<span class="whole">{words}</span>'


def mark(outcome: str) -> str:
    """An outcome with its colour and symbol."""
    kind = outcome if outcome in _SYMBOLS else "other"
    return f'<span class="mark {kind}">{_SYMBOLS.get(outcome, "·")}&nbsp;{escaped(outcome)}</span>'
