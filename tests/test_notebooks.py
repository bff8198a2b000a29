"""The notebooks: short, prose first, stored without output, and they run."""

import ast
import os
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_CELLS, MAX_FUNCTION_LINES = 15, 5
# The notebooks explain it.
EXPECTED_WARNING = "of the train x pulse array is padding"

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_notebook_is_short_and_begins_with_prose(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= MAX_CELLS
    assert notebook.cells[0].cell_type == "markdown"


@each_notebook
def test_notebook_is_stored_without_output(path):
    for cell in code_cells(nbformat.read(path, as_version=4)):
        assert cell.outputs == []
        assert cell.execution_count is None


@each_notebook
def test_functions_in_notebooks_are_short(path):
    for cell in code_cells(nbformat.read(path, as_version=4)):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                n_lines = node.end_lineno - node.lineno + 1
                assert n_lines <= MAX_FUNCTION_LINES, node.name


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter, in this process
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    # The kernel is another process, which shall find the package of this checkout.
    found = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), found])))
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    for cell in code_cells(notebook):
        for output in cell.outputs:
            words = output.get("text", "") if output.get("name") == "stderr" else ""
            assert not words or EXPECTED_WARNING in words, words
