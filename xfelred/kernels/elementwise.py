"""Functions that take an array number by number, one after the other.

The numbers are numpy's. Every function works on a whole block of a few MiB, in place of
what nobody needs any more: to pass tiles of a few frames through all functions, so that
they stay in the second-level cache, was slower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import prod
from typing import Any

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, read_only

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A number that is the same for all elements, of a type of numpy or of Python."""

    number: Any


@dataclass(frozen=True)
class Step:
    """One function. Operands are values, or numbers of registers.

    The first registers are the blocks; the results of the steps follow in turn.
    """

    function: Callable[..., Any]
    operands: tuple[int | Value, ...]
    dtype: np.dtype[Any]
    options: Mapping[str, Any] = field(default_factory=dict)


class Scratch:
    """Memory that is used again by the next block: new memory costs its page faults."""

    def __init__(self) -> None:
        self.arrays: dict[object, Array] = {}

    def get(self, name: object, shape: Shape, dtype: np.dtype[Any]) -> Array:
        n = prod(shape)
        found = self.arrays.get(name)
        if found is None or found.size < n:
            found = self.arrays[name] = np.empty(n, dtype)
        return found[:n].reshape(shape)


def run_steps(
    *blocks: Array,
    steps: tuple[Step, ...],
    scratch: Scratch | None = None,
    owned: Sequence[int] = (),
) -> Array:
    """Return the result of the last step for blocks that broadcast to one shape.

    With `scratch` it lies in memory that the next call with the same one uses again, or
    in that of the `owned` blocks, which nobody else needs.
    """
    memory = scratch or Scratch()
    registers = list(blocks)
    last_use: dict[int, int] = {}
    for i, step in enumerate(steps):
        last_use |= dict.fromkeys(registers_of(step), i)
    # In whose memory a register is. What nobody needs any more is used again.
    slots: dict[int, object] = {k: ("block", k) for k in owned}
    # As xarray does: what has no number becomes NaN or infinite, without a word.
    with np.errstate(all="ignore"):
        for i, step in enumerate(steps):
            shape = np.broadcast_shapes(
                *(registers[k].shape for k in registers_of(step))
            )
            over = (
                k
                for k in in_place(step)
                if k in slots
                and last_use[k] == i
                and (registers[k].shape, registers[k].dtype) == (shape, step.dtype)
            )
            k = next(over, None)
            if k is None:
                busy = {slot for r, slot in slots.items() if last_use.get(r, i) >= i}
                kind = shape, step.dtype
                slot: object = next(
                    s for s in ((n, *kind) for n in count()) if s not in busy
                )
                out = memory.get(slot, shape, step.dtype)
            else:
                slot, out = slots[k], registers[k]
            apply(step, registers, out)
            slots[len(registers)] = slot
            registers.append(out)
    return registers[-1]


def registers_of(step: Step) -> list[int]:
    return [o for o in step.operands if not isinstance(o, Value)]


def in_place(step: Step) -> list[int]:
    """Return the registers whose memory the result of a step may take."""
    if step.function is choose:
        return [o for o in step.operands[1:2] if not isinstance(o, Value)]
    return registers_of(step)


def apply(step: Step, registers: Sequence[Array], out: Array) -> None:
    """Write the result of a step to an array of its dtype."""
    given = [o.number if isinstance(o, Value) else registers[o] for o in step.operands]
    if step.function in CODES and not step.options and mixed(step, given, out):
        return
    if isinstance(step.function, np.ufunc) or step.function in INTO:
        step.function(*given, out=out, **step.options)
    else:
        np.copyto(out, step.function(*given, **step.options))


def choose(condition: Array, one: Array, other: Array, *, out: Array) -> None:
    """Write what `numpy.where` returns, in less time; `one` may be `out`."""
    if not out.size:
        return
    true = np.asarray(condition, bool)
    shape = rows_and_columns(true.shape, out.shape)
    plain = np.ndim(other) == 0 and out.dtype.str[1:] in ("f4", "f8")
    if shape is not None and plain and out.flags.c_contiguous:
        if one is not out:
            np.copyto(out, one, casting="unsafe")
        # Few kinds of arrays: each would be compiled anew.
        rows = true.size if shape == (true.size, 1) else out.size // shape[1]
        known = read_only(true).reshape(shape)
        blend(known, out.reshape(rows, -1), out.dtype.type(other))
        return
    if not (isinstance(one, np.ndarray) and one.dtype == out.dtype):
        np.copyto(out, one, casting="unsafe")
        one = out
    choose_by_bits(true, one, np.asarray(other).astype(out.dtype, copy=False), out)


def rows_and_columns(shape: tuple[int, ...], full: tuple[int, ...]) -> Any:
    """Return a shape of two axes of an array that broadcasts to another one.

    Along each it has all numbers or one. None if there is no such shape.
    """
    shape = (1,) * (len(full) - len(shape)) + shape
    same = [i for i, (n, m) in enumerate(zip(shape, full, strict=True)) if n == m != 1]
    longer = [i for i, (n, m) in enumerate(zip(shape, full, strict=True)) if n != m]
    if not longer or not same or max(longer) < min(same):
        return (1, prod(shape))
    return (prod(shape), 1) if max(same) < min(longer) else None


@njit(nogil=True, cache=True)
def blend(condition: Array, values: Array, other: Any) -> None:
    """Put a number where a condition is false; two axes, see above."""
    # Two arrays that may be the same one would not be vectorised.
    for a in range(values.shape[0]):
        row = condition[a if condition.shape[0] > 1 else 0]
        y = values[a]
        if row.size == 1:
            if not row[0]:
                for b in range(y.size):
                    y[b] = other
        else:
            for b in range(y.size):
                y[b] = y[b] if row[b] else other


def mixed(step: Step, given: Sequence[Any], out: Array) -> bool:
    """Write what numpy does of two dtypes in half the time; tell if this could be done.

    numpy casts such operands in buffers of its own.
    """
    if not all(isinstance(a, np.ndarray) and a.flags.c_contiguous for a in given):
        return False
    kinds = {a.dtype.str[1:] if a.dtype.isnative else "" for a in given}
    full = [a.shape == out.shape for a in given]
    if len(kinds) < 2 or not kinds < {"u2", "f4", "f8"} or not any(full):
        return False
    shapes = [rows_and_columns(a.shape, out.shape) for a in given]
    shape = shapes[full.index(False)] if not all(full) else (1, out.size)
    if shape is None or not out.size or out.dtype.kind != "f":
        return False
    rows = shape[0] if shape[1] == 1 else out.size // shape[1]
    one, two = (
        read_only(a).reshape((rows, -1) if whole else shape)
        for a, whole in zip(given, full, strict=True)
    )
    mix(CODES[step.function], one, two, out.reshape(rows, -1))
    return True


@njit(nogil=True, cache=True)
def mix(code: int, one: Array, two: Array, out: Array) -> None:
    """Write the difference, sum or product in the dtype of the result; two axes."""
    kind = out.dtype.type
    for a in range(out.shape[0]):
        x = one[a if one.shape[0] > 1 else 0]
        y = two[a if two.shape[0] > 1 else 0]
        z, by_x, by_y = out[a], int(x.size > 1), int(y.size > 1)
        if code == 0:
            for b in range(z.size):
                z[b] = kind(x[b * by_x]) - kind(y[b * by_y])
        elif code == 1:
            for b in range(z.size):
                z[b] = kind(x[b * by_x]) + kind(y[b * by_y])
        else:
            for b in range(z.size):
                z[b] = kind(x[b * by_x]) * kind(y[b * by_y])


def choose_by_bits(true: Array, one: Array, other: Array, out: Array) -> None:
    """Write what `numpy.where` returns as ``other ^ ((one ^ other) & mask)``."""
    kind = np.dtype(f"i{out.itemsize}")
    mask = true.view(np.int8).astype(kind)
    np.negative(mask, out=mask)
    bits = out.view(kind)
    np.bitwise_xor(one.view(kind), other.view(kind), out=bits)
    np.bitwise_and(bits, mask, out=bits)
    np.bitwise_xor(bits, other.view(kind), out=bits)


def cast(numbers: Array, *, out: Array) -> None:
    """Write numbers as those of another dtype."""
    np.copyto(out, numbers, casting="unsafe")


INTO = {choose, cast}
CODES: dict[Callable[..., Any], int] = {
    np.subtract: 0,
    np.add: 1,
    np.multiply: 2,
}  # of `mix`
