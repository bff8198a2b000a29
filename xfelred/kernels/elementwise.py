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

from xfelred.kernels.arrays import Array

Shape = tuple[int, ...]
# Integers with a sign, by bytes, so that -1 has all bits.
BITS = {n: np.dtype(f"i{n}") for n in (1, 2, 4, 8)}


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
    *blocks: Array, steps: tuple[Step, ...], scratch: Scratch | None = None
) -> Array:
    """Return the result of the last step for blocks that broadcast to one shape.

    With `scratch` it lies in memory that the next call with the same one uses again.
    """
    memory = scratch or Scratch()
    registers = list(blocks)
    shapes = [b.shape for b in blocks]
    last_use: dict[int, int] = {}
    for i, step in enumerate(steps):
        last_use |= dict.fromkeys(registers_of(step), i)
    # Of what memory a register is, and until which step it is needed.
    slots: dict[int, tuple[object, ...]] = {}
    # As xarray does: what has no number becomes NaN or infinite, without a word.
    with np.errstate(all="ignore"):
        for i, step in enumerate(steps):
            shape = np.broadcast_shapes(*(shapes[k] for k in registers_of(step)))
            slot = free_slot(step, i, (shape, step.dtype), slots, last_use)
            out = memory.get(slot, shape, step.dtype)
            apply(step, registers, out)
            slots[len(registers)] = slot
            registers.append(out)
            shapes.append(shape)
    return registers[-1]


def registers_of(step: Step) -> list[int]:
    return [o for o in step.operands if not isinstance(o, Value)]


def free_slot(
    step: Step,
    i: int,
    kind: tuple[object, ...],
    slots: Mapping[int, tuple[object, ...]],
    last_use: Mapping[int, int],
) -> tuple[object, ...]:
    """Return memory for the result of step `i` that nobody needs any more.

    In place of an operand is best, as what was just read is in the cache.
    """
    for k in in_place(step):
        if k in slots and last_use[k] == i and slots[k][1:] == kind:
            return slots[k]
    busy = {slot for k, slot in slots.items() if last_use.get(k, i) >= i}
    return next(s for s in ((n, *kind) for n in count()) if s not in busy)


def in_place(step: Step) -> list[int]:
    """Return the registers whose memory the result of a step may take."""
    if step.function is choose:
        return [o for o in step.operands[1:2] if not isinstance(o, Value)]
    return registers_of(step)


def apply(step: Step, registers: Sequence[Array], out: Array) -> None:
    """Write the result of a step to an array of its dtype."""
    given = (o.number if isinstance(o, Value) else registers[o] for o in step.operands)
    if isinstance(step.function, np.ufunc) or step.function in INTO:
        step.function(*given, out=out, **step.options)
    else:
        np.copyto(out, step.function(*given, **step.options))


def mask_of(condition: Array, *, out: Array) -> None:
    """Write all bits where a condition is true, none elsewhere."""
    true = np.asarray(condition, bool).view(np.int8)
    np.negative(true, out=out, casting="unsafe")


def choose(mask: Array, one: Array, other: Array, *, out: Array) -> None:
    """Write what `numpy.where` returns, by a mask (`mask_of`) of its itemsize.

    By bits: ``other ^ ((one ^ other) & mask)``, which needs no branch for each number
    and takes half of the time of `numpy.where`.
    """
    kind = mask.dtype
    bits, second = out.view(kind), np.asarray(other).astype(out.dtype, copy=False)
    if isinstance(one, np.ndarray) and one.dtype == out.dtype:
        np.bitwise_xor(one.view(kind), second.view(kind), out=bits)
    else:
        np.copyto(out, one, casting="unsafe")
        np.bitwise_xor(bits, second.view(kind), out=bits)
    np.bitwise_and(bits, mask, out=bits)
    np.bitwise_xor(bits, second.view(kind), out=bits)


def cast(numbers: Array, *, out: Array) -> None:
    """Write numbers as those of another dtype."""
    np.copyto(out, numbers, casting="unsafe")


INTO = {choose, cast, mask_of}
