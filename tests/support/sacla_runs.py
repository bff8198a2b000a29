"""Small SACLA runs, and changes of their event tables."""

import h5py

from xfelred.synth.sacla import write_run

SELECTOR = "bl_3/eh_1/xfel_pulse_selector_status"
OPEN = "bl_3/shutter_1_open_valid_status"
CLOSE = "bl_3/shutter_1_close_valid_status"
ENERGY = "bl_3/oh_2/photon_energy_in_eV"
SHAPE = (6, 5)


def written(tmp_path, **options):
    return write_run(
        tmp_path / "run.h5", **{"n_images": 12, "n_darks": 3, "shape": SHAPE, **options}
    )


def change(truth, column, values):
    """Replace a column of the event table."""
    with h5py.File(truth.path, "r+") as file:
        table = file[f"run_{truth.config.run}/event_info"]
        if column in table:
            del table[column]
        if values is not None:
            table[column] = values
