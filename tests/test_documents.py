"""What is generated is up to date, and what the documents promise is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runbook_lib.parameters import field_table, json_schema
from tests import sampling
from tests.conftest import CHECKOUT
from tests.prose import AVOIDED, code_prose, product_files, translated

README = CHECKOUT / "README.md"
PAGES = sorted((CHECKOUT / "docs").glob("*.md"))
DOCUMENTS = [README, *PAGES]
PARAMETERS = CHECKOUT / "docs" / "parameters.md"


def links(document: Path) -> set[tuple[Path, str]]:
    """Return what a document links to in this repository, outside of code: file and heading (or "")."""
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    local = [target.partition("#") for target in targets if not re.match(r"[a-z]+:", target)]
    return {((document.parent / path).resolve() if path else document, anchor) for path, _, anchor in local}


def heading_anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and JupyterLab make them from the words."""
    prose = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_schema_is_the_models() -> None:
    written = json.loads((CHECKOUT / "parameters" / "schema.json").read_text())
    assert written == json.loads(json.dumps(json_schema())), "run: make schema"


def test_the_table_lists_every_parameter() -> None:
    text = PARAMETERS.read_text(encoding="utf-8")
    table = text.split("<!-- parameters:begin -->")[1].split("<!-- parameters:end -->")[0]
    assert table.strip().splitlines() == list(field_table()), "run: make schema"


def test_every_measured_test_is_there() -> None:
    for function in json.loads(sampling.FILE.read_text(encoding="utf-8")):
        path, _, name = function.partition("::")
        assert f"def {name}(" in (CHECKOUT / path).read_text(encoding="utf-8"), function


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for path, anchor in links(document):
        assert path.exists(), path
        assert not anchor or anchor in heading_anchors(path), f"{path.name}#{anchor}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [README]
    while waiting:
        document = waiting.pop()
        reached.add(document)
        waiting += [path for path, _ in links(document) if path.suffix == ".md" and path not in reached]
    assert not set(PAGES) - reached


def test_the_readme_fits_on_three_screens() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert all(len(line) <= 110 for line in lines)


@pytest.mark.parametrize("path", product_files(), ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_the_prose_is_plain_english(path: Path) -> None:
    assert not translated(path)


@pytest.mark.parametrize(
    "text",
    [
        "what it was told",
        "written anew",
        "a list of ours",
        "nothing vouches for it",
        "it goes on to its end",
        "not applied without leave",
        "3 tenant file(s)",
        "a slip of the pen",
        "the runbook that carries itself out",
        "it is taken away",
        "it is not there any more",
        "on wrong ground",
        "in a process of its own",
        "that is no file",
        "begins no further tenant",
        "changed by somebody meanwhile",
        "where the records lie",
        "older than so many days",
        "reference of the password",
        "the parameters of then",
    ],
)
def test_a_translated_phrase_is_found_wherever_it_is(text: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    for code in (f'"""{text}"""', f"value = 1  # {text}", f'raise ValueError(f"{{value}}: {text}")'):
        module.write_text(code, encoding="utf-8")
        prose = "\n".join(part for _, part in code_prose(module))
        assert any(re.search(phrase, prose, re.IGNORECASE) for phrase in AVOIDED)


def make_targets() -> set[str]:
    """Return the targets that the Makefile declares."""
    text = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)[0].split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_only_targets_and_files_that_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= make_targets()
    for path in re.findall(r"`(parameters/(?:example|sandbox)/[\w.-]*)`", text):
        assert (CHECKOUT / path).exists(), path


def test_nothing_names_a_download_address_or_a_path_of_one_machine() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout
    for name in files.split():
        if name.startswith(("constraints", "Makefile", "pyproject", ".ci/")):
            text = (CHECKOUT / name).read_text(encoding="utf-8")
            assert not re.search(r"https?://|index-url|/root/|/home/", text), name


def test_importing_the_library_is_cheap() -> None:
    heavy = ("pandas", "twilio", "httpx", "pydantic")
    code = f"import sys, runbook_lib; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_where_a_newcomer_is_sent_is_there() -> None:
    text = (CHECKOUT / "docs" / "development.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:runbook_lib|runbook_sandbox|tests)/[\w/]*(?:\.py)?)(?:::(\w+))?`", text))
    assert len(named) > 10
    for path, test in named - {("runbook_lib/sections/sNN_name.py", "")}:
        assert (CHECKOUT / path).exists(), path
        assert not test or f"def {test}(" in (CHECKOUT / path).read_text(encoding="utf-8"), test
    section = (CHECKOUT / "runbook_lib" / "sections" / "s03_origination.py").read_text(encoding="utf-8")
    for method in ("look", "wanted", "expected", "_create", "_item"):
        assert f"`{method}`" in text and f"    def {method}(" in section, method
