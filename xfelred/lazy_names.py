"""Public names that are imported at first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def attach(
    package: str, submodules: Sequence[str], names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` for a package (PEP 562).

    `names` has the modules, and the public names that come from each.
    """
    where = {name: module for module, found in names.items() for name in found}
    public = sorted({*submodules, *where})

    def get(name: str) -> Any:
        if name in where:
            return getattr(import_module(where[name]), name)
        if name in submodules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, listed(public), public


def listed(public: Sequence[str]) -> Callable[[], list[str]]:
    """Return ``__dir__`` of a package that shows its public names and no helpers."""
    return lambda: [*public]
