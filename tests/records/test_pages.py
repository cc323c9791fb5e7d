"""Pages of records as files: what an auditor finds in them, and where their links lead."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from runbook_lib.batch import frame, pages
from runbook_lib.batch.overview import banner_of
from runbook_lib.batch.pages import renew_index, write_index, write_page, write_run_index
from tests.records.conftest import finish, make, start, work

RUN = "demo/acme/20261123T000000Z-aaaaaa"
HREF = re.compile(r'href="([^"]*)"')
ROW = re.compile(r'<tr( data-run="[^"]*")?>(.*?)</tr>', re.DOTALL)


def plain(html: str) -> str:
    """A page's words, one space between them."""
    body = html.partition("<main>")[2].partition("</main>")[0].replace("<wbr>", "")
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def put(path: Path, content: Any) -> None:
    """Write a file of a record, also of one that is closed: of the pages alone, nobody asks."""
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(content))


def run_json(folder: Path, **differently: Any) -> None:
    section = {
        "section": "01",
        "title": "Create a SIP trunk on Twilio",
        "outcome": "succeeded",
        "message": "",
        "changes": 1,
        "writes": 1,
        "seconds": 1.0,
        "notebook": "01_create_sip_trunk.ipynb",
    }
    run = {
        "run_id": folder.name,
        "site": "demo",
        "tenant": "acme",
        "target": {"target": "sandbox"},
        "mode": "apply",
        "started": "2026-11-23T00:00:00+00:00",
        "ended": "2026-11-23T00:00:03+00:00",
        "outcome": "succeeded",
        "problem": "",
        "sections": [section],
    }
    put(folder / "run.json", run | differently)


def plan_only(records: Path, run: str, mode: str = "plan") -> Path:
    """What a plan leaves: no chain entry, no journal."""
    folder = records / run
    folder.mkdir(parents=True)
    run_json(folder, mode=mode)
    return folder


def test_changes_come_first_and_plans_are_folded_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-17")
    make(tmp_path, RUN)
    for number in range(30):
        plan_only(tmp_path, f"demo/acme/20261124T0000{number:02}Z-aaaaaa", ("plan", "verify")[number % 2])
    page = write_index(tmp_path).read_text()
    changes, folded = page.split("<details>")
    assert len(ROW.findall(changes)) == 1 + 1 and len(ROW.findall(folded)) == 1 + 30
    words = plain(page).partition("Plans and checks")[0]
    for told in ("2026-11-23", "demo/acme", "friendly name: ", "PortSIP acme", "CHG-17", "auto-approval"):
        assert told in words, told
    assert f'data-run="{RUN}"' in changes
    assert "<details open" not in page


def test_a_run_that_wrote_and_is_in_no_chain_is_among_the_changes(tmp_path: Path) -> None:
    folder = tmp_path / RUN
    folder.mkdir(parents=True)
    work(folder)
    page = write_index(tmp_path).read_text()
    assert "<details>" not in page and f'data-run="{RUN}"' in page


def interrupted(records: Path) -> Path:
    folder = start(records, RUN)
    work(folder, answered=False)
    finish(records, folder)
    record = json.loads((folder / "record.json").read_text())
    record |= {"outcome": "interrupted", "ticket": "CHG-17", "reason": "new office"}
    put(folder / "record.json", record)
    run_json(folder, outcome="interrupted", problem="interrupted by SIGTERM\nWhat it means: x")
    return folder


def test_the_page_of_a_run_shows_each_write(tmp_path: Path) -> None:
    folder = make(tmp_path, RUN)
    run_json(folder)
    page = write_run_index(folder).read_text()
    journal = page.partition(">Journal (1)<")[2]
    assert journal, "no journal"
    for told in ("2026-11-23 00:00:00", "1.1", "trunk PortSIP acme", "Twilio POST", "/v1/Trunks", "201"):
        assert told in plain(f"<main>{journal}"), told
    assert f"RQ-{folder.name}" in plain(f"<main>{journal}")


def test_the_page_of_an_interrupted_run_says_so_first_and_in_plain_words(tmp_path: Path) -> None:
    page = write_run_index(interrupted(tmp_path)).read_text()
    words = plain(page)
    assert words.index("interrupted before it completed") < words.index("What changed")
    assert "Twilio POST for trunk PortSIP acme" in words
    assert "SIGTERM" not in words and "⟨U+000A⟩" not in page
    for told in ("CHG-17", "new office"):
        assert told in words


def test_no_page_of_a_run_names_a_place_on_the_machine(tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    notebook = new_notebook(
        cells=[
            new_code_cell(
                'site = "site.yaml"\ntenant = "a.yaml"\nmode = "plan"  # plan | apply\nonly = None',
                metadata={"tags": ["parameters"]},
            ),
            new_code_cell(
                f'site = "{tmp_path}/parameters/bigtel/site.yaml"\n'
                'tenant = "/srv/x/y/acme.yaml"\nmode = "apply"',
                metadata={"tags": ["injected-parameters"]},
            ),
            new_code_cell("section.plan()"),
        ]
    )
    path = folder / "01_create_sip_trunk.ipynb"
    nbformat.write(notebook, path)
    opening = json.loads((folder / "opening.json").read_text()) | {"workspace": str(tmp_path)}
    put(folder / "opening.json", opening)
    page = write_page(path).read_text()
    assert "mode = 'apply'" in plain(page) and plain(page).count("mode = ") == 1
    assert "parameters/bigtel/site.yaml" in plain(page) and "only = None" in plain(page)
    for html in (page, write_run_index(folder).read_text()):
        assert str(tmp_path) not in html.replace("<wbr>", "") and "/srv/" not in html.replace("<wbr>", "")


SVG = "<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>"


@pytest.mark.parametrize("picture", [False, True])
def test_a_page_has_everything_that_nbconvert_makes_of_the_notebook(picture: bool) -> None:
    """Ours omits nbconvert's last pass, which must change nothing in our pages but how they are written."""
    outputs = [
        new_output(
            "display_data",
            {"text/html": "<table><tr><td>a &amp; b<br>c</td></tr></table>", "text/plain": "the text"},
        ),
        new_output("execute_result", {"text/plain": "only <text>"}, execution_count=1),
        new_output("stream", name="stdout", text="printed <b>\n"),
        new_output("error", ename="ValueError", evalue="<i>", traceback=["\x1b[31mred\x1b[0m <tag>"]),
    ]
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Heading\n\nA *word*, [a link](x.ipynb), `code`, $x^2$ & <b>more</b>."),
            new_code_cell("if 1 < 2:\n    print('a')  # comment\n%time 1", outputs=outputs),
        ],
        metadata={"language_info": {"name": "python", "pygments_lexer": "ipython3"}},
    )
    if picture:
        notebook.cells.append(new_code_cell("", outputs=[new_output("display_data", {"image/svg+xml": SVG})]))
    ours, theirs = pages._exporter(), HTMLExporter(config=pages._exporter().config, **pages.PAGE_OPTIONS)
    made, expected = ours.from_notebook_node(notebook)[0], theirs.from_notebook_node(notebook)[0]
    assert "Heading" in made and str(BeautifulSoup(made, "html.parser")) == expected


def test_a_parameter_cell_that_does_more_is_shown_as_it_is(tmp_path: Path) -> None:
    cell = new_code_cell('site = open("x")', metadata={"tags": ["parameters"]})
    path = tmp_path / "01_create_sip_trunk.ipynb"
    nbformat.write(new_notebook(cells=[cell]), path)
    assert "open" in write_page(path).read_text()


def test_every_link_leads_to_a_file_of_the_records_also_in_a_copy_of_one_run(tmp_path: Path) -> None:
    records = tmp_path / "records"
    folder = make(records, RUN)
    run_json(folder)
    (folder / "01_create_sip_trunk.html").write_text("")
    write_run_index(folder)
    write_index(records)
    copy = tmp_path / "copy" / folder.name
    shutil.copytree(folder, copy)
    pages = [records / "index.html", folder / "index.html", copy / "index.html"]
    for page in pages:
        links = HREF.findall(page.read_text())
        assert links, page
        for link in links:
            target = (page.parent / unquote(link)).resolve()
            assert target.is_file() and target.is_relative_to(
                pages[0].parent if page != pages[2] else copy
            ), link


def test_a_long_word_of_anybody_can_be_broken_everywhere(tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    record = json.loads((folder / "record.json").read_text())
    put(folder / "record.json", record | {"reason": "x" * 9_999, "ticket": "y" * 9_999})
    for html in (write_run_index(folder).read_text(), write_index(tmp_path).read_text()):
        cells = re.findall(r"<td[^>]*>(.*?)</td>", html, re.DOTALL)
        assert max(len(word) for cell in cells for word in re.split(r"<[^>]*>|\s", cell)) < 100


@pytest.mark.parametrize(
    ("targets", "banner"),
    [
        ({"sandbox"}, "sandbox"),
        ({"live"}, "live"),
        ({"live", "unknown"}, "live"),
        ({"live", "sandbox"}, "mixed"),
        ({"sandbox", "unknown"}, ""),
        (set[str](), ""),
    ],
)
def test_a_list_with_live_runs_says_so(targets: set[str], banner: str) -> None:
    assert banner_of(targets) == banner
    assert ("<header" in frame.page("Records", banner_of(targets), "")) == bool(banner)


#: What somebody made of a plan's file.
CHANGED: dict[str, Any] = {
    "no target": {"target": ["sandbox"]},
    "target": {"target": {"target": ["sandbox"]}},
    "outcome": {"outcome": ["succeeded"]},
    "no sections": {"sections": {}},
    "no mapping": {"sections": ["01"]},
    "no section": {"sections": [{"section": 1, "outcome": "succeeded"}]},
    "no outcome": {"sections": [{"section": "01", "outcome": []}]},
    "times": {"started": {"at": "never"}, "mode": 7},
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_file_costs_its_own_run_its_line_and_no_other(tmp_path: Path, what: str) -> None:
    make(tmp_path, RUN)
    other = plan_only(tmp_path, "demo/acme/20261124T000000Z-aaaaaa")
    changed = plan_only(tmp_path, "demo/acme/20261124T000001Z-aaaaaa")
    run_json(changed, **{"mode": "plan", **CHANGED[what]})
    page = write_index(tmp_path).read_text()
    for folder in (tmp_path / RUN, other, changed):
        assert f'data-run="{folder.relative_to(tmp_path)}"' in page
    assert page.count("cannot be read") == (what not in ("target", "times"))


def test_a_bug_is_not_taken_for_a_changed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_only(tmp_path, RUN)

    def bug(*_: object) -> None:
        raise AttributeError("no such name")

    monkeypatch.setattr("runbook_lib.batch.overview._told", bug)
    with pytest.raises(AttributeError):
        write_index(tmp_path)
    # The run that is over is not affected, and says so.
    [caution] = renew_index(tmp_path)
    assert "AttributeError" in caution


def test_each_table_has_a_name_and_each_sheet_of_paper_its_run(tmp_path: Path) -> None:
    """For whoever hears a page, and for whoever has some sheets of it."""
    records = tmp_path / "records"
    folder = make(records, RUN)
    run_json(folder)
    html = write_run_index(folder).read_text()
    tables = re.findall(r"<table([^>]*)>(<caption)?", re.sub(r">\s+<", "><", html))
    assert len(tables) >= 3
    assert all("aria-label" in attributes or caption for attributes, caption in tables)
    style = html.partition("<style>")[2].partition("</style>")[0]
    footer = style.partition("@bottom-left")[2]
    assert folder.name in re.sub(r"\\([0-9a-f]+) ", lambda found: chr(int(found[1], 16)), footer)
    assert "counter(page)" in footer


def test_a_title_cannot_leave_the_style() -> None:
    title = '</style><script>alert(1)</script>"; } body { display: none } '
    html = frame.page(title, "", "<p>text</p>")
    style = html.partition("<style>")[2].partition("</style>")[0]
    footer = style.partition("@bottom-left")[2]
    assert footer.count('"') == 4 and "display: none" not in footer and "<script>" not in html
