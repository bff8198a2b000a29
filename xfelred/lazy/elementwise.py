"""Functions of numpy on planned arrays, number by number, as nodes of the recipe.

Whatever is not sure to give numpy's numbers is left to dask, which gives them as well:
then blocks are read whole, and nothing streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Protocol, TypeGuard

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import warn
from xfelred.kernels.elementwise import Step, Value, run_steps
from xfelred.kernels.memory import is_uniform
from xfelred.lazy.guarded import GuardedArray
from xfelred.lazy.nodes import (
    Const,
    Map,
    Node,
    Pending,
    View,
    all_dims,
    constant,
    pending,
    relabelled,
    viewed,
)

KINDS = "biufc"  # of numbers
FIRST = 1 << 30  # bytes of what is computed before the frames are read, in one piece


class Planned(Protocol):
    """A lazy array with its recipe."""

    node: Node
    chunks: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""


class Operands:
    """The operands of a function as registers of one recipe.

    `leaves` are the nodes below, `steps` the functions that were applied to them
    before; what is there already is not done twice.
    """

    def __init__(self, dims: tuple[str, ...]) -> None:
        self.dims = dims
        self.leaves: list[Node] = []
        self.steps: list[Step] = []
        self.known: dict[object, int] = {}

    def leaf(self, node: Node) -> int:
        key = node.token, node.dims
        if key not in self.known:
            self.known[key] = -1 - len(self.leaves)
            self.leaves.append(node)
        return self.known[key]

    def step(self, step: Step) -> int:
        key = step_key(step)
        if key not in self.known:
            self.known[key] = len(self.steps)
            self.steps.append(step)
        return self.known[key]

    def add(self, node: Node) -> int:
        """Return the register of a node, with the steps that make it."""
        # The steps of a smaller array would be worked out for the larger one.
        if not is_elementwise(node) or node.dims != self.dims:
            return self.leaf(node)
        registers = [self.leaf(arg) for arg in node.args]
        for step in node.params["steps"]:
            registers.append(self.step(moved(step, lambda i: registers[i])))
        return registers[-1]

    def node(self) -> Map:
        """Return the recipe of the last step."""
        n = len(self.leaves)
        # Leaves count from -1 downwards as long as it is not known how many there are.
        steps = tuple(
            moved(s, lambda i: -1 - i if i < 0 else n + i) for s in self.steps
        )
        last = self.steps[-1]
        name = getattr(last.function, "__name__", "elementwise")
        params, args = {"steps": steps}, tuple(self.leaves)
        return Map(run_steps, args, self.dims, (), (), last.dtype, name, params)


def is_elementwise(node: Node) -> TypeGuard[Map]:
    return isinstance(node, Map) and node.kernel is run_steps


def worked_on(node: Node) -> bool:
    """Tell whether there is a function of numpy anywhere in a recipe."""
    below: tuple[Node, ...] = ()
    if isinstance(node, View):
        below = (node.arg,)
    elif isinstance(node, Map):
        below = node.args
    return is_elementwise(node) or any(map(worked_on, below))


def register_of(node: Map, register: int) -> Node:
    """Return the recipe of what is between the steps of a node."""
    if register < len(node.args):
        return node.args[register]
    registers = Operands(node.dims)
    places = [registers.leaf(arg) for arg in node.args]
    needed = {register}
    steps = node.params["steps"]
    for i in range(register - len(places), -1, -1):
        if i + len(places) in needed:
            needed.update(o for o in steps[i].operands if isinstance(o, int))
    n = len(places)
    for i, step in enumerate(steps[: register - n + 1]):
        own = moved(step, lambda k: places[k]) if i + n in needed else None
        places.append(0 if own is None else registers.step(own))
    return registers.node()


def moved(step: Step, register: Callable[[int], int]) -> Step:
    """Return a step whose operands are other registers."""
    operands = tuple(o if isinstance(o, Value) else register(o) for o in step.operands)
    return Step(step.function, operands, step.dtype, step.options)


def step_key(step: Step) -> object:
    """Return what is equal for equal steps only: 1, 1.0 and True are three numbers."""
    operands = tuple(
        (type(o.number), np.asarray(o.number).tobytes()) if isinstance(o, Value) else o
        for o in step.operands
    )
    return step.function, operands, step.dtype, repr(sorted(step.options.items()))


def elementwise(
    function: Callable[..., Any],
    operands: Sequence[object],
    options: Mapping[str, Any] | None = None,
    *,
    trial: Callable[..., Any] | None = None,
) -> tuple[Map | Const, Planned] | None:
    """Return (recipe, the operand whose shape it has); None if dask should do it.

    `function` works number by number on arrays that broadcast, and on numbers. What
    `trial`, which is `function` by default, gives for arrays of one element has the
    dtype of the result.
    """
    options = options or {}
    given = [plain(o) for o in operands]
    like = leader(given)
    if like is None:
        return None
    one = one_element(trial or function, given, options)
    if one is None:
        return None
    if all(isinstance(o, Value) or is_constant(o) for o in given):
        return repeated(one, like.node.dims, like.shape), like
    dtype = one.dtype
    registers = Operands(like.node.dims)
    places: list[int | Value] = []
    for operand in given:
        if isinstance(operand, Value) or is_constant(operand):
            places.append(value_of(operand))
            continue
        node = (
            aligned_node(operand, like)
            or constant_node(operand, like)
            or pending_node(operand, like)
        )
        if node is None:
            return None
        places.append(registers.add(node))
    warn_of_wrapping(function, dtype)
    registers.step(Step(function, tuple(places), dtype, options))
    return registers.node(), like


def has_recipe(operand: object) -> TypeGuard[Planned]:
    found = isinstance(operand, GuardedArray) and getattr(operand, "node", None)
    return found is not None and found is not False


def plain(operand: object) -> Any:
    """Return a planned array, an array of numbers or a `Value`; None for the rest."""
    if type(operand) in (bool, int, float, complex):
        return Value(operand)
    if isinstance(operand, (list, tuple)):
        operand = np.asarray(operand)
    kind = getattr(getattr(operand, "dtype", None), "kind", None)
    if kind is None or kind not in KINDS:
        return None
    if isinstance(operand, np.generic):
        return Value(operand)
    # Not of classes below: masked arrays, matrices and units mean something else.
    if type(operand) is np.ndarray:
        return operand if operand.ndim else Value(operand[()])
    lazy = isinstance(operand, da.Array) and np.isfinite(operand.size)
    return operand if has_recipe(operand) or lazy else None


def leader(given: list[Any]) -> Planned | None:
    """Return the planned operand of the shape that all of them broadcast to."""
    if any(o is None for o in given):
        return None
    shapes = [o.shape for o in given if not isinstance(o, Value)]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        # dask says so in the words of numpy.
        return None
    return next((o for o in given if has_recipe(o) and o.shape == shape), None)


def is_constant(operand: Any) -> bool:
    """Tell whether a planned array is one number repeated."""
    return (
        has_recipe(operand)
        and isinstance(operand.node, Const)
        and is_uniform(operand.node.array)
    )


def value_of(operand: Any) -> Value:
    if isinstance(operand, Value):
        return operand
    return Value(operand.node.array.flat[0])


def repeated(number: object, dims: tuple[str, ...], shape: tuple[int, ...]) -> Const:
    """Return an array that is one number, in the memory of one."""
    one = np.asarray(number).reshape(())
    return Const(np.broadcast_to(one, shape), dims, tokenize("repeated", one, shape))


def one_element(
    function: Callable[..., Any], given: list[Any], options: Mapping[str, Any]
) -> NDArray[Any] | None:
    """Return what a function gives for arrays of one element, None if it does not.

    The elements of an array that is one number are that number, else they are 1.
    """
    ones = []
    for o in given:
        if isinstance(o, Value):
            ones.append(o.number)
            continue
        number = value_of(o).number if is_constant(o) else 1
        ones.append(np.full((1,) * max(1, len(o.shape)), number, o.dtype))
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(function(*ones, **options))
    except Exception:  # whatever it is, dask meets it as well and raises it
        return None
    return found if found.dtype.kind in KINDS else None


def aligned_node(operand: object, like: Planned) -> Node | None:
    """Return the recipe of an operand, if it has one, with the dims of another one.

    Axes of length 1 that are there for all positions of a longer one are left out.
    """
    if not has_recipe(operand):
        return None
    node, target = operand.node, like.node
    if node is target:
        return node
    n_new = len(like.shape) - len(operand.shape)
    names = dict(zip(node.dims, target.dims[n_new:], strict=True))
    shared = {
        d
        for d, n, all_of in zip(
            node.dims, operand.shape, like.shape[n_new:], strict=True
        )
        if n == all_of
    }
    node = viewed(node, tuple(d for d in node.dims if d in shared))
    renamed = {d: new for d, new in names.items() if d in shared and d != new}
    # Axes that a selection left behind keep their names, which must stay theirs.
    if set(renamed.values()) & (all_dims(node) - set(renamed)):
        return None
    return relabelled(node, renamed) if renamed else node


def constant_node(array: object, like: Planned) -> Const | None:
    """Return an array in memory without the axes along which it is the same."""
    if not isinstance(array, np.ndarray):
        return None
    dims = like.node.dims[len(like.shape) - array.ndim :]
    steps = zip(array.shape, array.strides, strict=True)
    same = [n == 1 or (n > 1 and step == 0) for n, step in steps]
    kept = array[tuple(0 if s else slice(None) for s in same)]
    return constant(kept, tuple(d for d, s in zip(dims, same, strict=True) if not s))


def pending_node(array: object, like: Planned) -> Pending | None:
    """Return a lazy array that is small enough to be computed before all else."""
    if not isinstance(array, da.Array) or has_recipe(array):
        return None
    size = prod(like.shape) * like.dtype.itemsize
    if array.nbytes > min(size / 2, FIRST):
        return None
    dims = like.node.dims[len(like.shape) - array.ndim :]
    whole = [n > 1 for n in array.shape]
    kept = array[tuple(slice(None) if w else 0 for w in whole)]
    return pending(kept, tuple(d for d, w in zip(dims, whole, strict=True) if w))


def warn_of_wrapping(function: Callable[..., Any], dtype: np.dtype[Any]) -> None:
    if dtype.kind == "u" and function in (np.subtract, np.negative):
        warn(
            f"a difference of unsigned numbers is {dtype} here, as in numpy: below zero"
            f" it wraps round to {np.iinfo(dtype).max}. Use numbers with a sign:"
            " frames.astype('float32'), or frames(astype='float32')"
        )
