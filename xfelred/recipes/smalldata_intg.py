"""Detectors that integrate over several shots: what fast ones saw per readout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xfelred.errors import no_such
from xfelred.kernels.arrays import Array
from xfelred.names import TRAIN
from xfelred.products.smalldata_file import MISSING, Rows
from xfelred.readers.protocol import Run
from xfelred.recipes.recipe import at_key
from xfelred.recipes.smalldata_models import IntegratingSpec
from xfelred.recipes.smalldata_plan import INTG, SmallDataPlan, slow_ids

# The values of a column of all shots: (name, key of the recipe).
Values = Callable[[str, str], Array]


def readouts_of(plan: SmallDataPlan) -> dict[str, Array]:
    """Return the IDs of the readouts of every integrating detector."""
    slow = slow_ids(plan.run)
    out = {}
    for name in plan.recipe.model.integrating:
        detector = plan.detectors.get(name)
        if slow is not None and name in slow_sources(plan.run):
            out[name] = slow
        elif detector is not None:  # a readout is a shot that has a frame
            out[name] = detector.ids[detector.rows]
        else:
            known = [*slow_sources(plan.run), *plan.detectors]
            where = f" in {plan.run.run_id}, nor a detector of the recipe"
            text = no_such("slow detector", name, known, where)
            raise plan.recipe.error(f"integrating.{name}", text)
    return out


def check_integrating(plan: SmallDataPlan) -> None:
    """Raise ConfigError for names that neither the run nor the recipe has."""
    readouts_of(plan)
    made = {c.path for c in plan.columns if isinstance(c, Rows)}
    for name, spec in plan.recipe.model.integrating.items():
        for i, column in enumerate(spec.sum):
            if column not in made:
                plan.shots.value(column, f"integrating.{name}.sum.{i}")
        for i, column in enumerate(spec.variables):
            copied(plan, name, column, f"integrating.{name}.variables.{i}")


def slow_sources(run: Run) -> list[str]:
    above = f"{INTG}/"
    columns = getattr(run, "columns", {})
    names = [str(n).removeprefix(above) for n in columns if str(n).startswith(above)]
    return sorted({n.partition("/")[0] for n in names if "/" in n})


def integrated(plan: SmallDataPlan, values: Values) -> dict[str, Array]:
    """Return the datasets of ``intg``: one row for each readout."""
    found = readouts_of(plan)
    slow = slow_ids(plan.run)
    if not found and not any(d.ids is slow for d in plan.detectors.values()):
        return {}
    ids = [*found.values(), *([] if slow is None else [slow])]
    every = np.unique(np.concatenate(ids))
    out: dict[str, Array] = {f"{INTG}/timestamp": every}
    for name, spec in plan.recipe.model.integrating.items():
        at = np.searchsorted(every, found[name])
        mine = of_readouts(plan, name, spec, found[name], values)
        out |= {
            f"{INTG}/{name}/{k}": spread(v, at, len(every)) for k, v in mine.items()
        }
    return out


def of_readouts(
    plan: SmallDataPlan, name: str, spec: IntegratingSpec, ids: Array, values: Values
) -> dict[str, Array]:
    """Return what is known of each readout of a detector."""
    key = f"integrating.{name}"
    shots = plan.shots.ids
    # A readout holds all shots after the one before it, up to its own.
    place = np.searchsorted(ids, shots)
    kept = place < len(ids)
    number = np.bincount(place[kept], minlength=len(ids)).astype(np.int64)
    first, last = np.full((2, len(ids)), MISSING, np.int64)
    last[place[kept]] = shots[kept]  # the last that is written stays
    first[place[kept][::-1]] = shots[kept][::-1]
    out: dict[str, Array] = {
        "count": number, "timestamp_min": first, "timestamp_max": last,
    }  # fmt: skip
    for i, column in enumerate(spec.sum):
        each = as_numbers(values(column, f"{key}.sum.{i}"))[kept]
        there = np.isfinite(each)
        total = np.zeros((len(ids), *each.shape[1:]))
        seen = np.zeros(total.shape, np.int64)
        np.add.at(total, place[kept], np.where(there, each, 0))
        np.add.at(seen, place[kept], there)
        source, _, field = column.rpartition("/")
        out[f"{source}_sum_{field}"], out[f"{source}_count_{field}"] = total, seen
    for i, column in enumerate(spec.variables):
        out |= copied(plan, name, column, f"{key}.variables.{i}")
    return out


def copied(plan: SmallDataPlan, name: str, column: str, key: str) -> dict[str, Array]:
    """Return columns of a slow detector, as in the file."""
    if slow_ids(plan.run) is None:
        text = f"{plan.run.run_id} has no values of slow detectors"
        raise plan.recipe.error(key, f"{text}; sum those of its shots")
    run: Any = plan.run
    with at_key(plan.recipe, key):
        ds = run.scalars([f"{name}/{column}"], stream=INTG, missing="keep")
    return {
        str(n).removeprefix(f"{name}/"): v.transpose(TRAIN, ...).values
        for n, v in ds.data_vars.items()
    }


def as_numbers(values: Array) -> Array:
    if values.dtype.kind == "f":
        return values
    return np.where(values == MISSING, np.nan, values.astype(np.float64))


def spread(values: Array, at: Array, n: int) -> Array:
    """Return values at their rows of `n`, and nothing at the others."""
    if len(at) == n:
        return values
    fill = np.nan if values.dtype.kind == "f" else MISSING
    out = np.full((n, *values.shape[1:]), fill, values.dtype)
    out[at] = values
    return out
