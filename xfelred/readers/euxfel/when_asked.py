"""Dicts whose entries are looked up when somebody looks into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class WhenAsked(dict[str, Any]):
    """A dict that gets the rest of its entries before anybody sees which it has.

    Of a run with thousands of sources most users look at a few, train after train.
    """

    __slots__ = ("look",)
    __hash__ = None

    def __init__(
        self, first: dict[str, Any], look: Callable[[], dict[str, Any]]
    ) -> None:
        super().__init__(first)
        self.look: Callable[[], dict[str, Any]] | None = look

    def whole(self) -> WhenAsked:
        if self.look is not None:
            dict.update(self, self.look())
            self.look = None  # not before: what cannot be read is said again
        return self

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (dict(self),)

    def __copy__(self) -> dict[str, Any]:
        return dict(self)


def first_whole(name: str) -> Callable[..., Any]:
    """Return a method of dicts that is called when all entries are there."""
    method = getattr(dict, name)

    def looked(self: WhenAsked, *args: Any, **options: Any) -> Any:
        return method(self.whole(), *args, **options)

    looked.__name__, looked.__doc__ = name, method.__doc__
    return looked


# `__iter__` also keeps `dict(...)` and `{**...}` from going past all of these.
NAMES = """
__contains__ __delitem__ __eq__ __ge__ __getitem__ __gt__ __ior__ __iter__ __le__
__len__ __lt__ __ne__ __or__ __repr__ __reversed__ __ror__ __setitem__ clear copy get
items keys pop popitem setdefault update values
"""
for name in NAMES.split():
    setattr(WhenAsked, name, first_whole(name))
