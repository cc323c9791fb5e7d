"""``install.py`` and make: an environment that fits Python, place and pins, or one sentence."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

#: A project without dependencies, built by itself: nothing of it comes from a network.
PROJECT = {
    "pyproject.toml": """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "small"
dynamic = ["dependencies"]
version = "1"
""",
    "constraints.txt": "",
    "needs.txt": "",
    "backend.py": """
import pathlib, zipfile

HERE = pathlib.Path(__file__).parent
METADATA = "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n" + (HERE / "needs.txt").read_text()
WHEEL = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("small.pth", str(HERE))
        wheel.writestr("small-1.dist-info/METADATA", METADATA)
        wheel.writestr("small-1.dist-info/WHEEL", WHEEL)
        wheel.writestr("small-1.dist-info/entry_points.txt", "[console_scripts]\\nsmall = small:main\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return name
""",
    "small.py": "def main():\n    print(__file__)\n",
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "pro ject"
    folder.mkdir()
    for name, content in PROJECT.items():
        (folder / name).write_text(content)
    shutil.copy(CHECKOUT / "install.py", folder)
    return folder


def install(folder: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``install.py`` of a folder; ``before`` is code that makes this Python a poorer one."""
    start = f"import sys, runpy\n{before}\nsys.argv = {['install.py', *arguments]!r}\n"
    code = f"{start}runpy.run_path('install.py', run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )


def works(folder: Path) -> None:
    """The folder's environment runs the folder's own code."""
    done = install(folder)
    assert done.returncode == 0, done.stderr
    command = folder / ".venv" / "bin" / "small"
    ran = subprocess.run([command], cwd="/", env=ENVIRONMENT, capture_output=True, text=True)
    assert Path(ran.stdout.strip()) == folder / "small.py", ran.stderr


def test_a_second_time_it_does_nothing(project: Path) -> None:
    works(project)
    stamp = project / ".venv" / ".ready"
    before = stamp.stat().st_mtime_ns
    done = install(project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == before


def _of_another_python(folder: Path) -> Path:
    stamp = folder / ".venv" / ".ready"
    made = json.loads(stamp.read_text())
    made["python"] = ["/usr/bin/python3.10", [3, 10]]
    stamp.write_text(json.dumps(made))
    (folder / ".venv" / "left-over").touch()
    return folder


def _copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.parent / "copy", symlinks=True))


def _moved(folder: Path) -> Path:
    return folder.rename(folder.parent / "moved")


def _without_its_python(folder: Path) -> Path:
    (folder / ".venv" / "bin" / "python").unlink()
    return folder


def _interrupted(folder: Path) -> Path:
    (folder / ".venv" / ".ready").unlink()
    (folder / ".venv" / "bin" / "small").unlink()
    return folder


def _not_ours(folder: Path) -> Path:
    (folder / ".venv" / ".ready").write_text("[]")
    (folder / ".venv" / "bin" / "small").unlink()
    return folder


def _other_pins(folder: Path) -> Path:
    (folder / "constraints.txt").write_text("# changed\n")
    (folder / ".venv" / "bin" / "small").unlink()
    return folder


@pytest.mark.parametrize(
    "happened",
    [_of_another_python, _copied, _moved, _without_its_python, _interrupted, _not_ours, _other_pins],
)
def test_what_no_longer_fits_is_made_again(project: Path, happened: Callable[[Path], Path]) -> None:
    works(project)
    folder = happened(project)
    works(folder)
    assert not (folder / ".venv" / "left-over").exists()
    if folder != project and project.exists():
        works(project)  # the original is still its own


def test_two_at_once(project: Path) -> None:
    command = [sys.executable, "install.py"]
    both = [subprocess.Popen(command, cwd=project, env=ENVIRONMENT) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    works(project)


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("sys.version_info = (3, 10, 13)", "needs Python 3.11 or newer"),
        ("sys.version_info = (2, 7, 18)", "needs Python 3.11 or newer"),
        ("sys.modules['venv'] = None", "python3-venv"),
        ("sys.modules['ensurepip'] = None", "python3-venv"),
    ],
)
def test_a_python_that_does_not_do_is_named_in_one_line(project: Path, before: str, says: str) -> None:
    done = install(project, before=before)
    assert done.returncode == 3 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and says in done.stderr and sys.executable in done.stderr
    assert not (project / ".venv").exists()


def test_old_pythons_can_read_it() -> None:
    source = (CHECKOUT / "install.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 0))
    newer = (ast.JoinedStr, ast.NamedExpr, ast.Starred, ast.AnnAssign, ast.AsyncFunctionDef, ast.Nonlocal)
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, newer)] == []


def test_the_command_names_the_version_too(tmp_path: Path) -> None:
    code = "import sys; sys.version_info = (3, 10, 13); import runbook_lib"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "Python 3.11 or newer" in done.stderr


def test_without_a_network(project: Path) -> None:
    (project / "wheelhouse").mkdir()
    works(project)
    (project / "needs.txt").write_text("Requires-Dist: not-in-the-wheelhouse\n")
    (project / "constraints.txt").write_text("# changed\n")
    done = install(project)
    assert done.returncode == 1 and "could not be installed" in done.stderr
    (project / "needs.txt").write_text("")
    works(project)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_names_a_python_that_is_not_there(project: Path) -> None:
    shutil.copy(CHECKOUT / "Makefile", project)
    done = subprocess.run(
        ["make", "demo", "PYTHON=python3.99"], cwd=project, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "python3.99" in done.stderr.splitlines()[0] and "Python 3.11 or newer" in done.stderr
