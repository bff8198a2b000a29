"""What the package raises: a walk through its source."""

import ast
import builtins
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "xfelred"
BUILTIN = {
    name
    for name, thing in vars(builtins).items()
    if isinstance(thing, type)
    and issubclass(thing, Exception)
    and not issubclass(thing, Warning)
}
# What Python itself asks of __getattr__, and of an iterator.
PROTOCOL = {"AttributeError", "StopIteration", "StopAsyncIteration"}


def bare(path):
    """Lines that make an exception which is a built-in and nothing else."""
    for node in ast.walk(ast.parse(path.read_text())):
        made = node.func if isinstance(node, ast.Call) else None
        # A name without a text says that a method is made by others.
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
            made = None if node.exc.id == "NotImplementedError" else node.exc
        if isinstance(made, ast.Name) and made.id in BUILTIN - PROTOCOL:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} {made.id}"
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        names = {base.id for base in bases if isinstance(base, ast.Name)}
        if names and names <= BUILTIN:
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} class {node.name}"


def test_no_error_is_a_builtin_alone():
    sources = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "errors.py"]
    assert not [line for path in sources for line in bare(path)]
