"""Write a simulated SACLA run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xfelred.errors import OutputExistsError
from xfelred.small_files import writing
from xfelred.synth.sacla.config import OCTAL, RunConfig
from xfelred.synth.sacla.pixels import Renderer, make_renderer
from xfelred.synth.sacla.shots import DrawnShots, draw_shots, event_columns
from xfelred.synth.sacla.truth import Truth

VERSION = 3.2
DETECTOR = "MPCCD-8-2-002"
ASSEMBLED_GAIN = 16.912
PIECES = 4  # of a compressed image along each axis


def write_run(
    path: str | Path,
    config: RunConfig | None = None,
    *,
    append: bool = False,
    **options: Any,
) -> Truth:
    """Write the file of a simulated SACLA run and return what is in it.

    Parameters
    ----------
    path : path
        A file that does not exist yet.
    config : RunConfig, optional
        What to write; the defaults are 60 assembled images of 512 x 512 pixels with the
        {111} ring of gold, the first 10 of them dark.
    append : bool, optional
        Add another run to an existing file.
    **options
        Fields of `RunConfig` that differ from `config`.

    Returns
    -------
    Truth
        Exact images, tags, energies, centre, radius and angles.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     truth = write_run(f"{place}/run.h5", n_images=3, n_darks=1, shape=(32, 32))
    ...     truth.tags.tolist()
    [166762140, 166762142, 166762144]
    """
    config = dataclasses.replace(config or RunConfig(), **options)
    path = Path(path)
    if path.exists() and not append:
        raise OutputExistsError(f"{path} exists already; write the run elsewhere")
    shots = draw_shots(config)
    renderer = make_renderer(config, shots)
    truth = Truth(path, config, shots, renderer)
    with writing(path), h5py.File(path, "a" if append else "x") as file:
        run = file.create_group(f"run_{config.run}")
        write_file_info(file, config)
        write_run_info(run, config)
        if not config.without_table:
            write_events(run, config, shots)
        for module in config.module_numbers:
            write_detector(run, truth, renderer, module)
    return truth


def write_file_info(file: h5py.File, config: RunConfig) -> None:
    info = file.require_group("file_info")
    known = list(info["run_number_list"][()]) if "run_number_list" in info else []
    for name in ("format_type", "version", "run_number_list"):
        if name in info:
            del info[name]
    info["format_type"] = np.bytes_("run_data_format")
    info["version"] = np.float32(VERSION)
    info["run_number_list"] = np.array([*known, config.run], np.int32)


def write_run_info(run: h5py.Group, config: RunConfig) -> None:
    run["exp_info/comment"] = np.bytes_("simulated gold run")
    run["run_info/start_tag_number"] = int(config.first_tag)
    # Exclusive, as at the facility.
    run["run_info/end_tag_number"] = int(
        config.first_tag + config.tag_step * config.n_shots
    )
    accelerator = {
        "photon_energy_in_eV": config.energy,
        "electron_energy_in_eV": 7.07e9,
        "k_parameter": 2.1,
        "repetition_rate": 60 / config.tag_step,  # tags count at 60 Hz
    }
    for name, value in accelerator.items():
        run[f"run_info/sacla_config/{name}"] = float(value)
    if config.layout == "modules":
        numbers = np.array(config.module_numbers, np.int32)
        run["run_info/detector_config/detector_2d_list"] = numbers


def write_events(run: h5py.Group, config: RunConfig, shots: DrawnShots) -> None:
    rows = [i for i in range(config.n_shots) if i not in set(config.without_event)]
    # Duplicates come at the end, so that a table is not sorted by tag either.
    rows += [i for i in rows if i in set(config.duplicates)]
    events = run.create_group("event_info")
    events["tag_number_list"] = config.tags[rows].astype(np.uint32)
    for name, values in event_columns(config, shots).items():
        events[name] = values[rows]


def write_detector(
    run: h5py.Group, truth: Truth, renderer: Renderer, module: int
) -> None:
    config = truth.config
    name = f"detector_2d_{module}" if module else "detector_2d_assembled_1"
    group = run.create_group(name)
    write_detector_info(group, config, module)
    options = storage(config)
    for shot in range(config.n_images):
        if not truth.has_group(shot, module):
            continue
        tag = group.create_group(f"tag_{config.tags[shot]}")
        if shot not in config.without_data:
            image = renderer.image(shot, module)
            if shot in config.odd_shape:
                image = image[: len(image) // 2]
            tag.create_dataset("detector_data", data=image, **options)
        tag["detector_status"] = np.int32(shot not in config.bad_status)
        if module:
            tag["temperature"] = np.float32(-21.27)


def write_detector_info(group: h5py.Group, config: RunConfig, module: int) -> None:
    size = np.full(2, config.pixel * 1e6, np.float32)
    values: dict[str, Any] = {
        "detector_name": np.bytes_(f"{DETECTOR}-{module}" if module else DETECTOR),
        "detector_type": np.int32(5),
        "pixel_size_in_micro_meter": size,
        "absolute_gain": np.float32(ASSEMBLED_GAIN),
        "exposure_time_in_sec": np.float32(0.001),
    }
    if module:
        mounted = OCTAL[module - 1]
        place = np.array([mounted.x_um, mounted.y_um, 0], np.float32)
        values |= {
            "absolute_gain": np.float32(mounted.gain),
            "detector_coordinate_in_micro_meter": place,
            "detector_rotation_angle_in_degree": np.float32(mounted.angle_deg),
            "detector_stage_direction_in_degree": np.float32(0),
            "detector_stage_shift_weight": np.float32(0),
            "manipulator_position_in_micro_meter": np.float32(0),
        }
    for name, value in values.items():
        group[f"detector_info/{name}"] = value


def storage(config: RunConfig) -> dict[str, Any]:
    if config.compression is None:
        return {}
    chunks = tuple(max(1, -(-n // PIECES)) for n in config.image_shape)
    shuffle = config.compression == "shuffle+gzip"
    return {"chunks": chunks, "compression": "gzip", "shuffle": shuffle}
