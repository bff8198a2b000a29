"""The structure of the package: what may import what, and how long things may be."""

import ast
import functools
import graphlib
import importlib
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
            "column_names",
            "shot_names",
            "small_files",
        }
    ],
    [{"kernels"}],
    [{"reductions"}],
    [{"detectors"}],
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
# Insides of libraries, which may change: the one module that stands on each.
INSIDES = {
    "dask._": "lazy.dask_seam",
    "dask.array.core": "lazy.dask_seam",
    "dask.blockwise": "lazy.dask_seam",
    "dask.highlevelgraph": "lazy.dask_seam",
    "dask.local": "lazy.scheduler",
    "dask.threaded": "lazy.scheduler",
    "distributed.comm": "cluster.running",
    "numba.core": "none",
    "xarray.core": "none",
    "zarr.codecs": "products.zarr_store",
    "zarr.core": "none",
}
# Optional packages, and the plotting library, are imported where they are used.
INSIDE_FUNCTIONS = {
    "IPython", "dask_jobqueue", "extra_data", "extra_geom", "h5netcdf", "hdf5plugin",
    "matplotlib", "psana", "pyFAI", "pyarrow", "tifffile",
}  # fmt: skip
MAX_LINES = 400
MAX_STATEMENT_LINES = 40
MAX_ARGUMENTS = 8
MAX_SHARE_OF_ANY = 0.03
# Rooms whose names are for users: each name has a docstring that users can read.
PUBLIC = [
    "",
    "ops",
    "geometry",
    "masks",
    "pairs",
    "products",
    "plot",
    "synth",
    "cluster",
]

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def dotted(path):
    """`xfelred.ops.cuts` for its file; a package for its `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def source(name):
    return NAMES[name].read_text()


@functools.cache
def tree(name):
    return ast.parse(source(name), name)


@functools.cache
def functions(name):
    return [node for node in ast.walk(tree(name)) if isinstance(node, FUNCTIONS)]


def part(name):
    """`ops` for `xfelred.ops.statistics`; nothing for the package itself."""
    return [*name.split("."), ""][1]


def imports(node):
    """Yield (import statement, module) for every import at or below a node."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from ((found, alias.name) for alias in found.names)
        elif isinstance(found, ast.ImportFrom):
            for alias in found.names:
                inner = f"{found.module}.{alias.name}"
                yield found, inner if inner in NAMES else found.module


@functools.cache
def all_imports(name):
    return list(imports(tree(name)))


def own_imports(name):
    """Yield the modules of the package that a module imports, but for its version."""
    for statement, imported in all_imports(name):
        own = imported.split(".")[0] == "xfelred" and not is_version(statement)
        if own:
            yield imported


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


def none(offenders):
    """Fail with all offenders, a line each."""
    offenders = list(offenders)
    assert not offenders, "\n".join(["", *offenders])


def points_up(here, name):
    """Whether a part must not import a module."""
    if name == "xfelred":
        return here != "cli"
    row, group = place(here)
    there = part(name)
    return (here, there) in NEVER or not (there in group or place(there)[0] < row)


def test_imports_point_down():
    none(
        f"{name} imports {imported}"
        for name in NAMES
        if part(name)
        for imported in own_imports(name)
        if points_up(part(name), imported)
    )


def test_imports_have_no_circle():
    # Also not for a type checker alone.
    graph = {n: {*own_imports(n)} - {n} for n in NAMES if n != "xfelred"}
    tuple(graphlib.TopologicalSorter(graph).static_order())


def foreign(name):
    """Libraries that a part of the package must not use, and does."""
    used = {imported.split(".")[0] for _, imported in all_imports(name)}
    banned = set() if part(name) in HDF5_PARTS else {"h5py"}
    arrays_only = part(name) in ("kernels", "reductions")
    return used & (banned | NOT_IN_KERNELS if arrays_only else banned)


def test_each_layer_knows_only_its_libraries():
    none(f"{name} uses {foreign(name)}" for name in NAMES if foreign(name))


def test_insides_of_a_library_are_known_to_one_module():
    none(
        f"{name} imports {imported}"
        for name in NAMES
        for _, imported in all_imports(name)
        for inside, home in INSIDES.items()
        if imported.startswith(inside) and name != f"xfelred.{home}"
    )


def test_imports_are_absolute():
    none(
        f"{name}:{statement.lineno}: {imported}"
        for name in NAMES
        for statement, imported in all_imports(name)
        if isinstance(statement, ast.ImportFrom)
        and (statement.level or [alias.name for alias in statement.names] == ["*"])
    )


def test_imports_are_at_the_top():
    none(
        f"{name}:{statement.lineno}: {imported} is imported inside a function"
        for name in NAMES
        for function in functions(name)
        for statement, imported in imports(function)
        if imported.split(".")[0] not in INSIDE_FUNCTIONS
    )


def test_optional_packages_are_not_imported_at_the_top():
    none(
        f"{name}:{statement.lineno}: {imported}"
        for name in NAMES
        for statement in tree(name).body
        if isinstance(statement, (ast.Import, ast.ImportFrom))
        for _, imported in imports(statement)
        if imported.split(".")[0] in INSIDE_FUNCTIONS
    )


def statement_lines(function):
    return {
        node.lineno
        for statement in function.body
        for node in ast.walk(statement)
        if isinstance(node, ast.stmt) and not is_docstring(node)
    }


def test_modules_and_functions_are_short():
    none(
        f"{name}: {source(name).count(chr(10))} lines"
        for name in NAMES
        if source(name).count("\n") > MAX_LINES
    )
    none(
        f"{name}: {function.name} has {len(statement_lines(function))} lines"
        for name in NAMES
        for function in functions(name)
        if len(statement_lines(function)) > MAX_STATEMENT_LINES
    )


def arguments(function):
    """Arguments of a function, without ``self`` and the like."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    more = [a for a in (given.vararg, given.kwarg) if a]
    return [a for a in [*named, *more] if a.arg not in ("self", "cls")]


def public_names():
    """What users call: functions of the public rooms, and the frames of a run."""
    rooms = [importlib.import_module(f"xfelred.{room}".rstrip(".")) for room in PUBLIC]
    return {"frames", *(name for room in rooms for name in room.__all__)}


def test_only_public_functions_take_many_arguments():
    known = public_names()
    none(
        f"{name}: {function.name} takes {len(arguments(function))}; group them"
        for name in NAMES
        for function in functions(name)
        if len(arguments(function)) > MAX_ARGUMENTS and function.name not in known
    )


def test_arguments_have_types_that_say_something():
    types = [
        ast.unparse(argument.annotation)
        for name in NAMES
        for function in functions(name)
        for argument in arguments(function)
        if argument.annotation
    ]
    assert types.count("Any") < MAX_SHARE_OF_ANY * len(types), types.count("Any")


def is_docstring(node):
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def is_import_or_name(node):
    """Whether a statement is what a package may hold: no logic."""
    if isinstance(node, ast.Assign):
        # The package itself fetches its names when they are first used.
        targets = [n.id for n in ast.walk(node.targets[0]) if isinstance(n, ast.Name)]
        return {*targets} <= {"__all__", "__version__", "__getattr__", "__dir__"}
    return is_docstring(node) or isinstance(node, (ast.Import, ast.ImportFrom))


def test_module_names_are_plain_and_packages_only_import():
    # Python itself asks for these two names.
    none(
        name
        for name, path in NAMES.items()
        if path.stem.startswith("_") and path.stem not in ("__init__", "__main__")
    )
    none(
        f"{name}:{node.lineno}: logic"
        for name, path in NAMES.items()
        if path.stem == "__init__"
        for node in tree(name).body
        if not is_import_or_name(node)
    )


def undocumented(name, value):
    """Yield what of a public object has no docstring, with its public methods."""
    if callable(value) and not value.__doc__:
        yield name
    if isinstance(value, type) and value.__module__.startswith("xfelred"):
        for member, method in vars(value).items():
            if not member.startswith("_") and callable(method) and not method.__doc__:
                yield f"{name}.{member}"


@pytest.mark.parametrize("room", PUBLIC)
def test_public_names_have_docstrings(room):
    module = importlib.import_module(f"xfelred.{room}".rstrip("."))
    none(
        missing
        for name in module.__all__
        for missing in undocumented(f"{module.__name__}.{name}", getattr(module, name))
    )


LOADED = """
import gc, sys
import xfelred
for name in xfelred.__all__:
    getattr(xfelred, name)
import xfelred.cli.main
print(*sorted({name.split(".")[0] for name in sys.modules}))
if "numba" in sys.modules:
    from numba.core.registry import CPUDispatcher
    found = [o for o in gc.get_objects() if isinstance(o, CPUDispatcher)]
    own = [o for o in found if o.py_func.__module__.startswith("xfelred")]
    print(*(o.py_func.__name__ for o in own if o.signatures))
"""


@pytest.mark.slow
def test_import_loads_no_plotting_no_cluster_and_compiles_nothing():
    """Nor does the command; all of it comes when it is used."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded, compiled = [*done.stdout.split("\n"), "", ""][:2]
    # pandas loads pyarrow wherever that is installed.
    ours = {"matplotlib", "distributed", *INSIDE_FUNCTIONS} - {"pyarrow"}
    assert not ours & {*loaded.split()}
    assert compiled == ""
