"""The structure of the package: what may import what, and how long things may be."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xfelred"

# Imports only point to an earlier row. Groups in one row do not import each other.
LAYERS = [
    [
        {
            "names",
            "errors",
            "provenance",
            "shots",
            "entries",
            "lazy_names",
            "settings",
            "progress_line",
            "detector_names",
            "column_names",
            "shot_names",
            "small_files",
        }
    ],
    [{"kernels"}],
    [{"reductions"}],
    [{"lazy"}],
    [{"hdf5"}],
    [{"geometry", "masks", "pairs"}, {"readers"}],
    [{"ops"}, {"synth"}, {"components"}, {"checks"}],
    [{"products"}],
    [{"recipes"}],
    [{"cluster", "plot"}],
    [{"cli"}],
    [{"__main__"}],
]
# Downward, and still not allowed.
NEVER = {("ops", "readers"), ("synth", "readers")}
HDF5_PARTS = {"hdf5", "synth", "products"}
NOT_IN_KERNELS = {"dask", "xarray", "h5py"}
# Optional packages, and the plotting library, are imported where they are used.
INSIDE_FUNCTIONS = {
    "IPython", "dask_jobqueue", "extra_data", "extra_geom", "h5netcdf", "hdf5plugin",
    "hvplot", "matplotlib", "panel", "psana", "pyFAI", "tifffile",
}  # fmt: skip
MAX_LINES = 400
MAX_STATEMENT_LINES = 40

MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def dotted(path):
    """`xfelred.ops.statistics` for its file; a package for its `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in MODULES}


def part(name):
    """`ops` for `xfelred.ops.statistics`; nothing for the package itself."""
    return [*name.split("."), ""][1]


def tree(path):
    return ast.parse(path.read_text(), str(path))


def imports(node):
    """Yield (import statement, module) for every import at or below a node."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from ((found, alias.name) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            for alias in found.names:
                inner = f"{found.module}.{alias.name}"
                yield found, inner if inner in NAMES else found.module


def own_imports(path, skip=()):
    """Yield the modules of the package that a file imports, but for its version."""
    for statement, name in imports(tree(path)):
        own = name.split(".")[0] == "xfelred" and not is_version(statement)
        if own and statement.lineno not in skip:
            yield name


def typing_lines(path):
    """Lines that only a type checker reads: `if TYPE_CHECKING:` at the top."""
    return {
        line
        for node in tree(path).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for line in range(node.lineno, node.end_lineno + 1)
    }


def is_version(statement):
    return (
        isinstance(statement, ast.ImportFrom)
        and statement.module == "xfelred"
        and [alias.name for alias in statement.names] == ["__version__"]
    )


def place(name):
    """Row and group of a part of the package."""
    for row, groups in enumerate(LAYERS):
        for group in groups:
            if name in group:
                return row, group
    raise AssertionError(f"give {name!r} a place in LAYERS of {__file__}")


each_module = pytest.mark.parametrize("path", MODULES, ids=dotted)


@each_module
def test_imports_point_down(path):
    here = part(dotted(path))
    if not here:
        pytest.skip("the package itself imports what it offers")
    row, group = place(here)
    for name in own_imports(path):
        if name == "xfelred":
            assert here == "cli", "only the command may import the whole package"
            continue
        there = part(name)
        assert there in group or place(there)[0] < row, f"{name} is not below {here}"
        assert (here, there) not in NEVER, f"{here} must not import {name}"


def test_imports_have_no_circle():
    graph = {
        name: {*own_imports(path, typing_lines(path))} - {name}
        for name, path in NAMES.items()
    }
    graph.pop("xfelred")
    tuple(graphlib.TopologicalSorter(graph).static_order())


@each_module
def test_each_layer_knows_only_its_libraries(path):
    here = part(dotted(path))
    used = {name.split(".")[0] for _, name in imports(tree(path))}
    if here not in HDF5_PARTS:
        assert "h5py" not in used
    if here == "kernels":
        assert not used & NOT_IN_KERNELS


@each_module
def test_imports_are_absolute(path):
    for statement, name in imports(tree(path)):
        if isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"line {statement.lineno}: relative {name}"
            assert [a.name for a in statement.names] != ["*"], statement.lineno


@each_module
def test_imports_are_at_the_top(path):
    for function in ast.walk(tree(path)):
        if isinstance(function, FUNCTIONS):
            for statement, name in imports(function):
                assert name.split(".")[0] in INSIDE_FUNCTIONS, (
                    f"line {statement.lineno}: {name} is imported inside a function"
                )


@each_module
def test_optional_packages_are_not_imported_at_the_top(path):
    for statement in tree(path).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for _, name in imports(statement):
                assert name.split(".")[0] not in INSIDE_FUNCTIONS, name


@each_module
def test_modules_are_short(path):
    n_lines = len(path.read_text().splitlines())
    assert n_lines <= MAX_LINES, f"{n_lines} lines"


@each_module
def test_functions_are_short(path):
    for function in ast.walk(tree(path)):
        if isinstance(function, FUNCTIONS):
            lines = {
                node.lineno
                for statement in function.body
                for node in ast.walk(statement)
                if isinstance(node, ast.stmt) and not is_docstring(node)
            }
            assert len(lines) <= MAX_STATEMENT_LINES, f"{function.name}: {len(lines)}"


def is_name(node):
    return isinstance(node, ast.Name)


def is_docstring(node):
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@each_module
def test_module_names_are_plain_and_packages_only_import(path):
    # Python itself asks for these two names.
    assert not path.stem.startswith("_") or path.stem in ("__init__", "__main__")
    if path.stem != "__init__":
        return
    for node in tree(path).body:
        allowed = is_docstring(node) or isinstance(node, (ast.Import, ast.ImportFrom))
        if isinstance(node, ast.Assign):
            # The package itself fetches its names when they are first used.
            targets = {name.id for name in ast.walk(node.targets[0]) if is_name(name)}
            allowed = targets <= {"__all__", "__version__", "__getattr__", "__dir__"}
        assert allowed, f"line {node.lineno}: no logic in {path.name}"


LOADED = """
import gc, sys
import xfelred
for name in xfelred.__all__:
    getattr(xfelred, name)
print(*sorted({name.split(".")[0] for name in sys.modules}))
if "numba" in sys.modules:
    from numba.core.registry import CPUDispatcher
    found = [o for o in gc.get_objects() if isinstance(o, CPUDispatcher)]
    own = [o for o in found if o.py_func.__module__.startswith("xfelred")]
    print(*(o.py_func.__name__ for o in own if o.signatures))
"""


def test_import_loads_no_plotting_no_cluster_and_compiles_nothing():
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded, compiled = [*done.stdout.split("\n"), "", ""][:2]
    assert not {"matplotlib", "distributed", *INSIDE_FUNCTIONS} & {*loaded.split()}
    assert compiled == ""
