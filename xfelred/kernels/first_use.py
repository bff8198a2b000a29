"""How long kernels take when they are first used, and compiled by numba."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from numba.extending import is_jitted

# Seconds on one core: `xfelred warm-up` compiled 105 kernels in 131 s, one in 0.5 to 2.
COMPILED = 1.3
LOADED = 0.05  # from the cache on disk
OURS = "xfelred."


def seconds_of_first_use(
    functions: Iterable[Any], *, everywhere: bool = False
) -> float:
    """Return how long it takes to compile, or to load, what functions call.

    Parameters
    ----------
    functions : functions or classes of functions
    everywhere : bool
        Also what this process has ready, as others do not.
    """
    kernels = {k for function in functions for k in kernels_below(function)}
    waiting = [k for k in kernels if everywhere or not k.signatures]
    return sum(LOADED if is_cached(k) else COMPILED for k in waiting)


@cache
def kernels_below(function: Any) -> frozenset[Any]:
    """Return the compiled functions that a function of this package may call."""
    found, seen, todo = set(), set(), [function]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if is_jitted(one):
            found.add(one)
        elif (getattr(one, "__module__", None) or "").startswith(OURS):
            todo += called(one)
    return frozenset(found)


def called(one: Any) -> Iterator[Any]:
    """Yield what a function, or a class, finds by the names in its code."""
    if isinstance(one, type):
        yield from (f for f in vars(one).values() if isinstance(f, FunctionType))
    if not isinstance(one, FunctionType):
        return
    names = set(names_in(one.__code__))
    for name in names:
        value = one.__globals__.get(name)
        if isinstance(value, ModuleType) and value.__name__.startswith(OURS):
            yield from (getattr(value, n) for n in names if hasattr(value, n))
        elif callable(value):
            yield value


def names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def is_cached(kernel: Any) -> bool:
    """Tell whether the cache on disk has a kernel, for some kind of array."""
    place = kernel.stats.cache_path
    code = kernel.py_func.__code__
    name = f"*.{kernel.py_func.__qualname__}-{code.co_firstlineno}.py*.nbi"
    return bool(place) and any(Path(place).glob(name))
