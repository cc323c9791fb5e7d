"""Cells of a notebook in a real kernel, sent as JupyterLab sends them: never for another tenant than the
one that the parameter cell names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from runbook_lib.batch.kernels import KERNEL, OwnKernelSpecs
from runbook_lib.guide import SECTIONS
from runbook_lib.notebook.watch import NOTHING_OPEN
from tests.conftest import CHECKOUT, TestSandbox

PATIENCE_S = 120
WORKING = ("current", "plan", "apply", "verify", "record")
BROKEN = {
    "a quote is lost": ('acme.yaml"', "globex.yaml"),
    "no such file": ("acme.yaml", "no-such-tenant.yaml"),
    "a bare word": ('"parameters/sandbox/acme.yaml"', "globex"),
}
GLOBEX = ("acme.yaml", "globex.yaml")


@dataclass(frozen=True)
class Ran:
    """What a cell answered: its status, the error's class and lines, and the text of its outputs."""

    status: str
    error: str
    lines: tuple[str, ...]
    text: str

    @property
    def refused(self) -> bool:
        """Whether it did nothing but say why, in one sentence."""
        return self.error == "StalePageError" and self.text == "" and " ".join(self.lines).count(". ") == 0


class OpenNotebook:
    """A section's notebook and its kernel; cells are run one by one, in any order."""

    def __init__(self, client: BlockingKernelClient, number: str) -> None:
        path = CHECKOUT / "notebooks" / f"{SECTIONS[number].notebook}.ipynb"
        cells = nbformat.read(path, as_version=4).cells
        self.cells = {cell.id: cell.source for cell in cells if cell.cell_type == "code"}
        self._client = client

    def run(self, cell_id: str, *change: str, code: str | None = None) -> Ran:
        """Run a cell, with ``change[1]`` in the place of ``change[0]`` or with other code."""
        source = self.cells[cell_id] if code is None else code
        if change:
            assert source.count(change[0]) == 1
            source = source.replace(*change)
        return self.answers([self.send(cell_id, source)])[0]

    def run_all(self) -> list[Ran]:
        return [self.run(cell_id) for cell_id in self.cells]

    def send(self, cell_id: str, code: str) -> str:
        """Send a cell as JupyterLab does, without waiting; return the request's id."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        }
        message = self._client.session.msg("execute_request", content, metadata={"cellId": cell_id})
        self._client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def answers(self, requests: list[str]) -> list[Ran]:
        """Wait for what the requests answer, in their order."""
        shown: dict[str, list[dict[str, Any]]] = {request: [] for request in requests}
        waiting = set(requests)
        while waiting:
            message = self._client.get_iopub_msg(timeout=PATIENCE_S)
            request = message["parent_header"].get("msg_id")
            if request in shown:
                shown[request].append(message)
                if message["content"].get("execution_state") == "idle":
                    waiting.discard(request)
        states = {}
        while len(states) < len(requests):
            reply = self._client.get_shell_msg(timeout=PATIENCE_S)
            if reply["parent_header"]["msg_id"] in shown:
                states[reply["parent_header"]["msg_id"]] = reply["content"]["status"]
        return [_ran(states[request], shown[request]) for request in requests]

    def value(self, expression: str) -> Any:
        """The value of an expression in the kernel, unseen by what watches cells."""
        request = self._client.execute("", silent=True, user_expressions={"value": expression})
        while True:
            reply = self._client.get_shell_msg(timeout=PATIENCE_S)
            if reply["parent_header"]["msg_id"] == request:
                answer = reply["content"]["user_expressions"]["value"]
                assert answer["status"] == "ok", answer
                return answer["data"]["text/plain"]


def _ran(status: str, messages: list[dict[str, Any]]) -> Ran:
    errors = [one["content"] for one in messages if one["msg_type"] == "error"]
    error = errors[0] if errors else {"ename": "", "traceback": []}
    shown = [
        one["content"]["data"]["text/plain"]
        for one in messages
        if one["msg_type"] in ("display_data", "execute_result")
    ]
    return Ran(status, error["ename"], tuple(error["traceback"]), "\n".join(shown))


@pytest.fixture
def client(sandbox: TestSandbox) -> Iterator[BlockingKernelClient]:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)},
        cwd=str(sandbox.root / "notebooks"),
        extra_arguments=["--HistoryManager.enabled=False"],
    )
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE_S)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook(client: BlockingKernelClient, sandbox: TestSandbox) -> OpenNotebook:
    """Notebook 01 after Run All for the demo's first tenant."""
    notebook = OpenNotebook(client, "01")
    ran = notebook.run_all()
    assert [one.status for one in ran] == ["ok"] * len(ran)
    assert "2 rows change" in ran[list(notebook.cells).index("apply")].text
    sandbox.clear_log()
    return notebook


def requests(sandbox: TestSandbox) -> list[object]:
    return sandbox.control("GET", "requests").json()["requests"]


def check_nothing_works(notebook: OpenNotebook, sandbox: TestSandbox) -> None:
    """Every cell says in one sentence that it does nothing, and the form that is still shown cannot apply."""
    assert [notebook.run(cell_id).refused for cell_id in WORKING] == [True] * len(WORKING)
    check_the_form_is_withdrawn(notebook)
    assert requests(sandbox) == []


def check_the_form_is_withdrawn(notebook: OpenNotebook) -> None:
    """The form of the former page is dead, also for somebody who typed its name before."""
    assert notebook.value("section.form.panel.view['form']") == "None"
    notebook.value("section.form.answered({'do': 'apply', 'name': 'demo/acme'})")
    assert notebook.value("section.form.follower.followed") == "None"


def check_it_works_for_globex(notebook: OpenNotebook) -> None:
    assert notebook.run("parameters", *GLOBEX).status == "ok"
    assert notebook.run("open").status == "ok"
    assert "demo/globex" in notebook.run("plan").text


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_after_a_broken_parameter_cell_nothing_works_until_both_cells_have_succeeded(
    notebook: OpenNotebook, sandbox: TestSandbox, change: tuple[str, str]
) -> None:
    notebook.run("parameters", *change)
    assert notebook.run("open").status == "error"  # it can come late, with the old variables
    check_nothing_works(notebook, sandbox)
    # The parameter cell alone is not enough, not even with the former values.
    assert notebook.run("parameters").status == "ok"
    check_nothing_works(notebook, sandbox)
    check_it_works_for_globex(notebook)


def test_an_opening_cell_that_fails_before_it_calls_anything(
    notebook: OpenNotebook, sandbox: TestSandbox
) -> None:
    assert notebook.run("open", code='section = open_section("01", site').error == "SyntaxError"
    check_nothing_works(notebook, sandbox)
    assert notebook.run("open").status == "ok"
    assert "demo/acme" in notebook.run("plan").text


@pytest.mark.parametrize(
    "code",
    [
        'tenant = "parameters/sandbox/globex.yaml"',
        'site = {"site": {"name": "other"}}',
        'mode = "verify"',
        'plan_file = "plans/acme.plan.json"',
        "del tenant",
    ],
)
def test_other_parameters_than_those_that_were_opened(
    notebook: OpenNotebook, sandbox: TestSandbox, code: str
) -> None:
    """Whichever cell sets them, and also if the next line already works."""
    assert notebook.run("own", code=f"{code}\nsection.plan()").error == "StalePageError"
    check_nothing_works(notebook, sandbox)


def test_the_form_is_withdrawn_by_the_parameter_cell_alone(notebook: OpenNotebook) -> None:
    assert notebook.run("parameters", *GLOBEX).status == "ok"
    check_the_form_is_withdrawn(notebook)


def test_the_form_asks_before_it_starts_anything(notebook: OpenNotebook, sandbox: TestSandbox) -> None:
    """A click can arrive while the cell that changes the parameters still runs."""
    click = (
        "assert section.form.panel.view['form']\n"
        "section.form.answered({'do': 'apply', 'name': 'demo/acme'})\n"
        "assert section.form.follower.followed is None"
    )
    assert notebook.run("own", code=f"tenant = 'globex.yaml'\n{click}").error == ""
    assert notebook.value("section.form.follower.followed") == "None"
    assert requests(sandbox) == []


def test_options_of_the_way_back_count_also_when_they_change_in_place(client: BlockingKernelClient) -> None:
    notebook = OpenNotebook(client, "91")
    notebook.run("parameters")
    notebook.run("open")
    assert notebook.run("plan").status == "ok"
    notebook.run("own", code="accept_interruption = True")
    assert notebook.run("plan").refused


def test_what_invalidates_nothing(notebook: OpenNotebook) -> None:
    failed = [notebook.run("own", code=code).error for code in ("1 / 0", "one = (", "print(tenant == acme)")]
    assert failed == ["ZeroDivisionError", "SyntaxError", "NameError"]
    assert notebook.run("plan").status == "ok"
    assert notebook.run("parameters").status == "ok"  # with the same values
    assert notebook.run("plan").status == "ok"
    assert notebook.run("own", code="[tenant for tenant in (1, 2)]").status == "ok"
    assert "2 rows change" in notebook.run("apply").text


def test_a_parameter_cell_that_was_skipped_after_a_failure_above_it(
    notebook: OpenNotebook, sandbox: TestSandbox
) -> None:
    """What it says was never set, so the old values are not what the operator sees."""
    slow = "import time; time.sleep(1)\n1 / 0"  # so that the rest is queued behind it
    sent = [notebook.send("own", slow), notebook.send("parameters", notebook.cells["parameters"])]
    assert [one.status for one in notebook.answers(sent)] == ["error", "aborted"]
    assert notebook.run("open").refused
    check_nothing_works(notebook, sandbox)
    check_it_works_for_globex(notebook)


def test_cells_that_the_kernel_skips_say_the_same(notebook: OpenNotebook, sandbox: TestSandbox) -> None:
    """With Run All, some cells arrive before the failure and are skipped, others after it and are run."""
    broken = notebook.cells["parameters"].replace(*BROKEN["a quote is lost"])
    sent = [notebook.send("own", "import time; time.sleep(1)"), notebook.send("parameters", broken)]
    sent += [notebook.send(cell_id, notebook.cells[cell_id]) for cell_id in ("open", *WORKING)]
    sent.append(notebook.send("own", "print('a cell of the operator')"))
    _, parameters, *later, own = notebook.answers(sent)
    assert parameters.error == "SyntaxError"
    assert [one.status for one in (*later, own)] == ["aborted"] * 7
    assert [one.refused for one in later] == [True] * 6
    assert own.error == ""
    check_nothing_works(notebook, sandbox)


def test_a_parameter_cell_that_was_interrupted(notebook: OpenNotebook, sandbox: TestSandbox) -> None:
    code = notebook.cells["parameters"] + "\nraise KeyboardInterrupt"
    assert notebook.run("parameters", code=code).error == "KeyboardInterrupt"
    assert notebook.run("open").refused
    check_nothing_works(notebook, sandbox)


def test_front_ends_and_copies_with_other_cell_ids(notebook: OpenNotebook, sandbox: TestSandbox) -> None:
    """VS Code has ids of its own, a copied cell gets a new one, papermill's cell has a random one."""
    broken = notebook.cells["parameters"].replace(*BROKEN["a quote is lost"])
    assert notebook.run("W0sZmlsZQ", code=broken).error == "SyntaxError"
    assert notebook.run("X1sZmlsZQ", code=notebook.cells["open"]).refused
    check_nothing_works(notebook, sandbox)
    assert notebook.run("W0sZmlsZQ", code=notebook.cells["parameters"].replace(*GLOBEX)).status == "ok"
    assert notebook.run("X1sZmlsZQ", code=notebook.cells["open"]).status == "ok"
    assert "demo/globex" in notebook.run("plan").text


def test_papermills_cell_counts_beside_the_parameter_cell(notebook: OpenNotebook) -> None:
    """In an executed notebook its values are below the defaults; the defaults are not what is meant."""
    assert notebook.run("parameters").status == "ok"
    assert notebook.run("3f2a9c", code='tenant = "globex.yaml').error == "SyntaxError"
    assert notebook.run("open").refused
    assert notebook.run("3f2a9c", code='tenant = "parameters/sandbox/globex.yaml"').status == "ok"
    assert notebook.run("open").status == "ok"
    assert "demo/globex" in notebook.run("plan").text


def test_a_cell_of_ones_own_may_set_open_and_plan(notebook: OpenNotebook) -> None:
    code = "\n".join(
        [notebook.cells["parameters"].replace(*GLOBEX), notebook.cells["open"], "section.plan()"]
    )
    assert "demo/globex" in notebook.run("own", code=code).text
    assert "demo/globex" in notebook.run("verify").text


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_broken_parameter_cell_in_a_new_kernel(
    client: BlockingKernelClient, sandbox: TestSandbox, change: tuple[str, str]
) -> None:
    sandbox.clear_log()
    notebook = OpenNotebook(client, "01")
    notebook.run("parameters", *change)
    opened = notebook.run("open")
    assert opened.error == ("InputError" if "no-such" in change[1] else "NameError")
    for ran in [opened, *(notebook.run(cell_id) for cell_id in WORKING)]:
        assert ran.status == "error" and ran.text == ""
        assert "Traceback" not in "\n".join(ran.lines)
        assert ran == opened or len(ran.lines) <= 2
    assert requests(sandbox) == []
    check_it_works_for_globex(notebook)


def test_other_names_that_are_missing_keep_their_traceback(notebook: OpenNotebook) -> None:
    assert "Traceback" in "\n".join(notebook.run("own", code="sectoin.plan()").lines)
    assert "Traceback" in "\n".join(notebook.run("open", "site,", "siet,").lines)


@pytest.mark.parametrize("cell", ["section.apply()", "page.plan()"])
def test_in_a_new_kernel_of_the_lab_a_later_cell_says_what_to_run_first(
    sandbox: TestSandbox, cell: str
) -> None:
    """Nothing of the library was imported by a cell yet."""
    manager = KernelManager(kernel_name=KERNEL, kernel_spec_manager=OwnKernelSpecs())
    manager.start_kernel(env={**os.environ, **sandbox.environment}, cwd=str(sandbox.root))
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE_S)
        shown: list[str] = []
        client.execute_interactive(
            cell,
            timeout=PATIENCE_S,
            output_hook=lambda message: shown.extend(message["content"].get("traceback", ())),
        )
        assert NOTHING_OPEN.split(":")[0] in " ".join("\n".join(shown).split())
        assert "NameError" not in "".join(shown)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_file_that_names_another_tenant_by_now(client: BlockingKernelClient, sandbox: TestSandbox) -> None:
    """A run that begins after the record reads the files again."""
    moving = sandbox.root / "parameters" / "moving.yaml"
    acme, globex = (
        (sandbox.root / "parameters" / "sandbox" / f"{name}.yaml").read_text() for name in ("acme", "globex")
    )
    try:
        moving.write_text(acme)
        notebook = OpenNotebook(client, "01")
        notebook.run("parameters", "sandbox/acme.yaml", "moving.yaml")
        assert [notebook.run(cell_id).status for cell_id in ("open", *WORKING)] == ["ok"] * 6
        moving.write_text(globex)
        sandbox.clear_log()
        check_nothing_works(notebook, sandbox)
        assert notebook.run("open").status == "ok"
        assert "demo/globex" in notebook.run("plan").text
    finally:
        moving.unlink()
