"""Write a whole simulated run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from xfelred.errors import OutputExistsError
from xfelred.small_files import writing
from xfelred.synth.euxfel.config import DA01, RunConfig
from xfelred.synth.euxfel.control_files import write_control
from xfelred.synth.euxfel.detector_files import write_module
from xfelred.synth.euxfel.pixels import make_renderer
from xfelred.synth.euxfel.shots import draw_shots
from xfelred.synth.euxfel.truth import Truth


def write_run(
    directory: str | Path, config: RunConfig | None = None, **options: Any
) -> Truth:
    """Write the files of a simulated European XFEL run and return what is in them.

    Parameters
    ----------
    directory : path
        Made if it does not exist; must not hold HDF5 files.
    config : RunConfig, optional
        What to write; the defaults are a corrected AGIPD-1M run of 4 trains.
    **options
        Fields of `RunConfig` that differ from `config`.

    Returns
    -------
    Truth
        Exact pixels, IDs, masks, pulse energies and paths.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     truth = write_run(place, modules=[0, 1], n_trains=2, pulses=[0, 4])
    ...     [path.name for path in truth.files[1]]
    ['CORR-R0001-AGIPD01-S00000.h5']
    """
    config = dataclasses.replace(config or RunConfig(), **options)
    directory = Path(directory)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    if any(directory.glob("*.h5")):
        raise OutputExistsError(
            f"{directory} holds HDF5 files already; write the run elsewhere"
        )
    shots = draw_shots(config)
    renderer = make_renderer(config, shots)
    with writing(directory):
        files: dict[int | str, list[Path]] = {
            module: write_module(directory, renderer, module)
            for module in config.module_numbers
        }
        files[DA01] = write_control(directory, config, shots)
    truth = Truth(directory, config, files, shots, renderer)
    for fault in config.faults:
        fault(truth)
    return truth
