"""Units and long names of the coordinates of frames."""

from __future__ import annotations

import xarray as xr

from xfelred.names import (
    AVAILABLE,
    CELL,
    FAST,
    GAIN,
    LONG_NAME,
    MODULE,
    N_PULSES,
    PULSE,
    RECORDED,
    SLOW,
    TRAIN,
    UNITS,
)


def describe(array: xr.DataArray) -> None:
    names = {
        TRAIN: "train ID",
        PULSE: "pulse ID",
        MODULE: "module number",
        CELL: "memory cell",
        GAIN: "gain stage (0 high, 1 medium, 2 low)",
        AVAILABLE: "data were recorded",
        RECORDED: "the train has this pulse",
        N_PULSES: "number of pulses in the train",
        SLOW: "pixel along the slow axis",
        FAST: "pixel along the fast axis",
    }
    for name, text in names.items():
        if name in array.coords:
            array[name].attrs = {UNITS: "1", LONG_NAME: text}
