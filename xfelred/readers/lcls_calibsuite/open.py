"""Opening a file of the calibration suite."""

from __future__ import annotations

import numpy as np

from xfelred.errors import MultiRunError, listing
from xfelred.readers.base import Reader
from xfelred.readers.lcls_calibsuite.run import Run
from xfelred.readers.lcls_calibsuite.survey import read_contents, recognises
from xfelred.readers.paths import candidates


def open_source(
    source: object,
    run: int | str | None = None,
    data: object = "default",
    include: str = "*",
) -> Run:
    """Open the run of one file; see `xfelred.open_run`.

    Raises
    ------
    MultiRunError
        If the source names several files, or `run` is given: a file is one run.
    BrokenFileError
        If the file cannot be read.
    InconsistentDataError
        If its parts contradict each other.
    """
    if isinstance(source, Run):
        return source
    paths = candidates(source)
    if len(paths) > 1:
        paths = [p for p in paths if recognises(p)]
    if len(paths) != 1:
        raise MultiRunError(
            f"{source} names {len(paths)} files of the calibration suite; open one of"
            f" them: {listing(paths)}"
        )
    if run is not None:
        raise MultiRunError(
            f"run={run!r}: a file of the calibration suite is one run; leave it out"
        )
    contents = read_contents(paths[0])
    return Run(
        contents=contents,
        ids=np.arange(int(contents.n_events.sum())),
        step_numbers=contents.steps,
        names=(*contents.detectors, *contents.series),
    )


READER = Reader(
    facility="lcls",
    looks_for="frames (step, event, module, row, column) or detectorData/step<N>/<name>"
    " (LCLS calibration suite)",
    recognises=recognises,
    open=open_source,
)
