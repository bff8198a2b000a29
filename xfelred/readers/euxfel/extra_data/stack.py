"""Sources of one train, as `Run.trains` gives them, in one array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    InconsistentDataError,
    NoAxisError,
    NoDataError,
    OutOfRangeError,
    PropertyNameError,
    listing,
)
from xfelred.readers.entry import checked_fill


@dataclass(frozen=True)
class StackView:
    """Modules seen as one array without copying them.

    Attributes
    ----------
    parts : dict of int to array
        Arrays of the modules that are there.
    n_modules : int
    axis : int
        Axis of modules in the result, counted from the start.
    fill_value : scalar
    """

    parts: dict[int, NDArray[Any]]
    n_modules: int
    axis: int
    fill_value: object

    @property
    def one(self) -> NDArray[Any]:
        """Any of the arrays."""
        return next(iter(self.parts.values()))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the data."""
        return self.one.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the stacked data."""
        shape = self.one.shape
        return (*shape[: self.axis], self.n_modules, *shape[self.axis :])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> Any:
        """Return one module, or a view with other axes cut.

        Along the axis of modules only an integer or a full slice is possible.
        """
        items = list(index) if isinstance(index, tuple) else [index]
        if any(item is Ellipsis for item in items):
            at = next(i for i, item in enumerate(items) if item is Ellipsis)
            items[at : at + 1] = [slice(None)] * (self.ndim - len(items) + 1)
        items += [slice(None)] * (self.ndim - len(items))
        module = items.pop(self.axis)
        rest = tuple(items)
        if isinstance(module, (int, np.integer)):
            return self.module(int(module))[rest]
        if module != slice(None):
            raise ArgumentTypeError(
                "a view of stacked modules takes one module or all of them; use"
                " real_array=True for other selections"
            )
        parts = {m: a[rest] for m, a in self.parts.items()}
        dropped = sum(isinstance(i, (int, np.integer)) for i in rest[: self.axis])
        return StackView(parts, self.n_modules, self.axis - dropped, self.fill_value)

    def module(self, number: int) -> NDArray[Any]:
        """Return the array of one module, filled if it is missing."""
        if not -self.n_modules <= number < self.n_modules:
            raise OutOfRangeError(f"module {number} of {self.n_modules}")
        number %= self.n_modules
        if number in self.parts:
            return self.parts[number]
        return np.full(self.one.shape, self.fill_value, self.dtype)

    def squeeze(self, axis: int | None = None) -> StackView | NDArray[Any]:
        """Return a view without axes of length 1; an array if that is of modules.

        Raises
        ------
        NoAxisError
            If there is no such axis.
        ValueError
            If it is longer.
        """
        if axis is None:
            axes = tuple(i for i, n in enumerate(self.shape) if n == 1)
        elif -self.ndim <= axis < self.ndim:
            axes = (axis % self.ndim,)
        else:
            raise NoAxisError(f"axis {axis} is outside a view with {self.ndim} axes")
        if self.axis in axes:
            return self.asarray().squeeze(axes)
        inner = tuple(i - (i > self.axis) for i in axes)
        parts = {m: a.squeeze(inner) for m, a in self.parts.items()}
        before = sum(i < self.axis for i in axes)
        return StackView(parts, self.n_modules, self.axis - before, self.fill_value)

    def asarray(self) -> NDArray[Any]:
        """Return the modules copied into one array."""
        out = np.full(self.shape, self.fill_value, self.dtype)
        modules = np.moveaxis(out, self.axis, 0)
        for number, part in self.parts.items():
            modules[number] = part
        return out


@entry
def stack_detector_data(
    train: Mapping[str, Mapping[str, Any]],
    data: str,
    axis: int = -3,
    modules: int = 16,
    fillvalue: object = None,
    real_array: bool = True,
    *,
    pattern: str = r"/DET/(\d+)CH",
    starts_at: int = 0,
) -> Any:
    """Put the modules of one train into one array.

    Parameters
    ----------
    train : mapping
        ``{source: {key: array}}`` for one train; every source a module.
    data : str
        Key to stack, for example ``image.data``.
    axis : int, optional
        Axis of modules in the result.
    modules : int, optional
        Number of modules of the complete detector.
    fillvalue : scalar, optional
        For missing modules; by default NaN for floats and 0 for others.
    real_array : bool, optional
        False: return a view of the arrays that copies nothing.
    pattern : str, optional
        Regular expression; its first group is the module number in a source name.
    starts_at : int, optional
        Number of the first module.

    Returns
    -------
    array or StackView

    Raises
    ------
    ValueError
        If there is nothing to stack, a source is not a module, or dtypes or shapes
        differ.
    IndexError
        If a module number is too large.
    """
    if not train:
        raise ArgumentError("no data of this train to stack")
    parts = {}
    for source, values in train.items():
        found = re.search(pattern, source)
        if found is None:
            raise ArgumentError(
                f"source {source!r} is not a module of a detector (pattern"
                f" {pattern!r}); select the detector's sources first"
            )
        if data not in values:
            continue
        number = int(found[1]) - starts_at
        if not 0 <= number < modules:
            raise OutOfRangeError(
                f"source {source!r} is module {number}, but modules={modules}"
            )
        parts[number] = np.asarray(values[data])
    parts = checked_parts(parts, data)
    one = next(iter(parts.values()))
    ndim = one.ndim + 1
    if not -ndim <= axis < ndim:
        raise ArgumentError(f"axis {axis} is outside a result with {ndim} axes")
    view = StackView(parts, modules, axis % ndim, checked_fill(fillvalue, one.dtype))
    return view.asarray() if real_array else view


def checked_parts(parts: dict[int, NDArray[Any]], key: str) -> dict[int, NDArray[Any]]:
    """Return the modules with data; ValueError unless they fit together."""
    if not parts:
        raise ArgumentError(f"no module has the key {key!r} in this train")
    if len({a.dtype for a in parts.values()}) > 1:
        raise ArgumentError(
            f"modules have different dtypes of {key!r}:"
            f" {listing(sorted({repr(a.dtype) for a in parts.values()}))}"
        )
    shapes = {a.shape for a in parts.values()}
    # A module may have no entry in this train: it is left out, as one that is missing.
    full = {s for s in shapes if s[:1] != (0,)} or shapes
    empty = shapes - full
    tails = {s[1:] for s in empty} <= {s[1:] for s in full}
    if len(full) > 1 or not tails:
        raise ArgumentError(
            f"modules have different shapes of {key!r}: {sorted(shapes)}"
        )
    shape = next(iter(full))
    return {m: a for m, a in parts.items() if a.shape == shape}


@entry
def stack_data(
    train: Mapping[str, Mapping[str, Any]],
    data: str,
    axis: int = -3,
    xcept: Iterable[str] | Mapping[str, Any] = (),
) -> NDArray[Any]:
    """Stack the data of the sources of one train, in the order of their numbers.

    For the modules of a detector use `stack_detector_data`, which fills those that are
    missing.

    Parameters
    ----------
    train : mapping
        ``{source: {key: array}}`` for one train.
    data : str
        Key to stack, for example ``image.data``.
    axis : int, optional
        New axis, of sources, in the result. They are sorted by the numbers in their
        names: ``B_7_0`` before ``A_12_0`` before ``A_12_1``.
    xcept : iterable of str, optional
        Sources to leave out.

    Returns
    -------
    array

    Raises
    ------
    NoDataError
        If no source is left.
    PropertyNameError
        If a source lacks the key.
    InconsistentDataError
        If dtypes or shapes differ.
    """
    left_out = {xcept} if isinstance(xcept, str) else set(xcept)
    # By the numbers in their names.
    names = {s: [int(n) for n in re.findall(r"\d+", s)] for s in train}
    sources = sorted(names.keys() - left_out, key=lambda s: (names[s], s))
    if not sources:
        raise NoDataError(
            f"nothing to stack: of {len(train)} sources of this train none is left"
            f" without xcept={sorted(left_out)}"
        )
    lacking = [s for s in sources if data not in train[s]]
    if lacking:
        raise PropertyNameError(
            f"{lacking[0]!r} and {len(lacking) - 1} more of {len(sources)} sources have"
            f" no {data!r} in this train; leave them out (xcept=), or fill them:"
            " stack_detector_data"
        )
    arrays = [np.asarray(train[s][data]) for s in sources]
    for source, array in zip(sources, arrays, strict=True):
        if (array.dtype, array.shape) != (arrays[0].dtype, arrays[0].shape):
            raise InconsistentDataError(
                f"{data!r} is {array.dtype} {array.shape} in {source!r}, but"
                f" {arrays[0].dtype} {arrays[0].shape} in {sources[0]!r}; leave some"
                " out (xcept=)"
            )
    return np.stack(arrays, axis=axis)
