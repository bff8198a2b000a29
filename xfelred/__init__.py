"""Lazy labelled arrays for X-ray free-electron-laser detector data.

Open a run with `open_run`, get frames from it, and apply the operations in `ops`,
`masks` and `geometry`. Names are imported when they are first used, so that
``import xfelred`` costs little more than ``import xarray``.
"""

from xfelred.lazy_names import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    submodules=(
        "ops",
        "geometry",
        "masks",
        "pairs",
        "synth",
        "plot",
        "errors",
        "cluster",
        "components",
    ),
    names={
        "xfelred.settings": ("options",),
        "xfelred.readers.open": ("open_run",),
        "xfelred.lazy.compute_together": ("compute_together",),
        "xfelred.readers.protocol": ("Run",),
        "xfelred.checks": ("check",),
        "xfelred.readers.euxfel": (
            "AGIPD1M",
            "AGIPD500K",
            "DSSC1M",
            "DataCollection",
            "H5File",
            "JUNGFRAU",
            "KeyData",
            "LPD1M",
            "LPDSolo",
            "RunDirectory",
            "SourceData",
            "by_id",
            "by_index",
            "identify_multimod_detectors",
            "stack_detector_data",
        ),
        "xfelred.readers.euxfel.extra_data.stack": ("stack_data",),
        "xfelred.ops.reductions.bins": ("Bins",),
        "xfelred.recipes.cube_recipe": ("CubeRecipe",),
        "xfelred.recipes.cube": ("make_cube",),
        "xfelred.recipes.write_cube": ("CubeResult", "write_cube"),
        "xfelred.recipes.smalldata_recipe": ("SmallDataRecipe",),
        "xfelred.recipes.reduce_run": ("reduce_run",),
        "xfelred.products.run_report": ("RunReport", "report"),
        "xfelred.products": (
            "write",
            "write_calibration_suite",
            "write_hits",
            "write_polar",
            "write_virtual_cxi",
        ),
        "xfelred.errors": (
            "XfelredError",
            "ConfigError",
            "SourceNotFound",
            "SourceNameError",
            "PropertyNameError",
            "TrainIDError",
            "SelectionEmptyError",
            "UnknownFormatError",
            "BrokenFileError",
            "GeometryMismatchError",
            "InconsistentDataError",
            "MissingConstantError",
            "MissingExtraError",
            "MultiRunError",
            "NoDataError",
            "OutputExistsError",
            "OutputError",
            "WorkersLostError",
            "ClusterError",
        ),
    },
)
