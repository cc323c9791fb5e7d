"""The prose of the product: documents, notebooks, messages, docstrings and comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat

from tests.conftest import CHECKOUT

#: Phrases that read as if they had been translated, each with what to write instead.
AVOIDED = {
    r"\btold\b|\btells?\b(?! (?:apart|which|whether|the other))": "show, report, explain, say who does what",
    r"\banew\b": "again, or name the verb: recreate, rewrite",
    r"\bof (?:ours|yours)\b(?!:)": "our own, your own",
    r"\bvouche[sd]\b|\bvouch\b|\bvouching\b": "unverified, or say what proves it",
    r"\b(?:goes|go|came|come|comes) (?:on )?to (?:its|their) end\b": "finish",
    r"\b(?:without|no|gives?|needs|has) leave\b": "permission; allow",
    r"\b[a-z]+\(s\)": "the number with the right plural",
    r"\bslips? of the (?:pen|finger)\b": "typo",
    r"\bcarries itself out\b": "executable",
    r"\bbefore its time\b": "unexpectedly, early",
    r"\bany more\b": "no longer, any longer",
    r"\bnobody can (?:say|tell|make sense)\b": "it is unknown",
    r"\b(?:took|takes?|taken|taking) (?:away|off|back)\b": "remove, undo",
    r"\bwrong ground\b": "a wrong assumption",
    r"\bof before\b": "previous, older",
    r"\bone of yours\b|\bthat is none\b|\bwhat is no\b": "say what it is not: is not a",
    r"\b(?:inside|outside) of\b": "inside, outside",
    r"\bas (?:it stands|they stand|it lies)\b": "unchanged, at present",
    r"\bsettle (?:it|each|this|them)\b": "resolve",
    r"\bpasses? over\b": "skip, ignore",
    r"\bof (?:its|their) own\b": "its own record, a separate process",
    r"(?<!there )\bis no (?!longer|more|other|need|such)": "is not a",
    r"\bno further\b": "no more",
    r"(?<=[a-z,;] )meanwhile\b": "in the meantime, since then",
    r"\b(?:lies?|lay|lying)\b": "a file is in a folder",
    r"\bso (?:many|long)\b(?! as)": "this many, for as long as",
    r"\breferences? of\b": "a reference to a secret",
    r"\bof then\b": "at that time, previous",
}


#: Values that older files contain, so they stay: file and text.
ALLOWED = {("keys.py", "no leave"), ("s00_before.py", "tenant may have trunks of its own")}
#: Names of the code are not prose: quoted ones, and those of parameters in a docstring.
NAMES = re.compile(r"``.*?``|`[^`\n]*`|^\s+\w+$", re.MULTILINE)


def code_prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string, docstring and comment of a module.

    A string of one word is a key. Parts of an f-string are read one by one.
    """
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the place and the text of everything that people read in a file; code in Markdown is left out."""
    if path.suffix == ".py":
        yield from code_prose(path)
    elif path.suffix == ".ipynb":
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            text = cell.source
            if cell.cell_type == "code":
                text = "\n".join(line.partition("#")[2] for line in text.splitlines())
            yield number, text
    else:
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        yield from enumerate(text.splitlines(), 1)


def product_files() -> list[Path]:
    """Return every file of the product that has prose: documents, notebooks and modules."""
    documents = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *CHECKOUT.glob("docs/*.md")]
    modules = [*CHECKOUT.glob("runbook_lib/**/*.py"), *CHECKOUT.glob("runbook_sandbox/**/*.py")]
    return sorted([*documents, *CHECKOUT.glob("notebooks/*.ipynb"), *modules])


def translated(path: Path) -> list[str]:
    """Return each phrase of a file that is to be avoided, with its place and what to write instead."""
    found = []
    for place, text in prose_of(path):
        prose = NAMES.sub("", text)
        found += [
            f"{path.relative_to(CHECKOUT)}:{place}: {hit[0]!r}: {better}"
            for phrase, better in AVOIDED.items()
            for hit in re.finditer(phrase, prose, re.IGNORECASE)
            if (path.name, text) not in ALLOWED
        ]
    return found
