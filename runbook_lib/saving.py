"""How ``runbook lab`` saves notebooks: an extension of Jupyter's server.

The product's own notebooks are stored without what their cells showed, so that opening and running them
changes no file. Every other notebook loses the views of its controls, which say nothing without their kernel;
the text that comes with each of them stays, and has its time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import product
from .plain_files import parse_mapping, read
from .working_copies import cells_of

#: What Jupyter loads.
MODULE = __name__
VIEW = "application/vnd.jupyter.widget-view+json"


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": MODULE}]


def _load_jupyter_server_extension(app: Any) -> None:
    app.contents_manager.register_pre_save_hook(before_saving)


def before_saving(model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """Change what is about to be saved; Jupyter calls this for each file."""
    if model.get("type") != "notebook" or not model.get("content"):
        return
    # Without a folder on this machine there is no notebook of the product's either.
    place = getattr(contents_manager, "_get_os_path", Path)(path)
    file = Path(place).resolve()
    own = file.parent == product.NOTEBOOKS or product.is_checkout(file.parent.parent)
    if own and file.is_file():
        model["content"] = as_committed(model["content"], parse_mapping(read(file)))
    else:
        drop_views(model["content"])


def as_committed(notebook: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook with what a person wrote in it, and all else as it is stored: no outputs."""
    metadata = {cell.get("id"): cell.get("metadata", {}) for cell in stored.get("cells", ())}
    if cells_of(notebook) == cells_of(stored):
        return dict(stored)
    cells = [
        {
            **cell,
            "metadata": metadata.get(cell.get("id"), {}),
            **({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {}),
        }
        for cell in notebook["cells"]
    ]
    return {**notebook, "metadata": stored.get("metadata", {}), "cells": cells}


def drop_views(notebook: Mapping[str, Any]) -> None:
    """Take the views of widgets and their state out of a notebook; the text beside each view stays."""
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop(VIEW, None)
