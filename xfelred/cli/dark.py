"""`xfelred dark`: pedestal, noise and bad pixels of a dark run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.cli.progress import progress
from xfelred.cli.where import scheduler, where_options
from xfelred.cli.words import of_argument, show_warning, tell, tell_json
from xfelred.detectors import CATALOGUE
from xfelred.errors import SelectionEmptyError, XfelredError
from xfelred.names import CELL, DATA_GAIN, PULSE, TRAIN
from xfelred.products.dark_report import bad_share, write_dark_report
from xfelred.products.write import WRITERS
from xfelred.readers.protocol import Run

ANALOG = 0  # of `data_gain`: the signal; 1 is the voltage that tells the gain stage
# The report is made from what was written, block by block.
READ_BACK = {
    ".zarr": partial(xr.open_zarr, consolidated=False),
    ".nc": partial(xr.open_dataset, chunks={}),
}
XRAY = "lightStatus/xray"  # of LCLS small data
MOST_CELLS = 1024  # no detector has as many memory cells
MOST_BAD = 0.1  # of the pixels; most detectors in use have 0.1 to 3 %


def parse_trains(_: object, __: object, text: str | None) -> slice:
    if text is None:
        return slice(None)
    parts = text.split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= 3 or (len(numbers) == 3 and (numbers[2] or 1) < 1):
        raise click.BadParameter(
            f"{text!r} is no range of positions; write A:B, such as 10:200, or A:B:STEP"
        )
    return slice(*numbers)


def parse_gain_runs(_: object, __: object, texts: tuple[str, ...]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in texts:
        number, _, path = text.partition("=")
        if not number.strip().isdigit() or not path or int(number) in found:
            raise click.BadParameter(
                f"{text!r}; write RANGE=RUN, each range once, such as 1=path/of/r0002"
            )
        found[int(number)] = path
    return found


@click.command()
@click.argument("run")
@click.option(
    "-o", "--output", metavar="PATH", type=click.Path(path_type=Path),
    help=f"Result; the ending chooses the format: {', '.join(WRITERS)}.",
)  # fmt: skip
@click.option(
    "--detector", metavar="NAME", help="Needed if the run has several detectors."
)
@click.option(
    "--key", metavar="KEY", help="What to read of the detector; by default its frames."
)
@click.option(
    "--kind", type=click.Choice(sorted({d.kind for d in CATALOGUE.values()})),
    help="Detectors with gain bits: mask them out, and sort pixels by gain range.",
)  # fmt: skip
@click.option(
    "--gain-run", "gain_runs", metavar="RANGE=RUN", multiple=True,
    callback=parse_gain_runs,
    help="The dark run of another gain range, such as 1=PATH; RUN itself is range 0.",
)  # fmt: skip
@click.option(
    "--by", type=click.Choice([CELL, PULSE, "none"]),
    help="Constants for each memory cell, for each pulse, or for all frames together."
    " By default cell, or pulse where the cells of a pulse differ between trains.",
)  # fmt: skip
@click.option(
    "--noise-sigma", default=5.0, show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Pixels are bad further than this from the median of their module.",
)  # fmt: skip
@click.option(
    "--offset-sigma", type=click.FloatRange(min=0, min_open=True),
    help="The same for pedestals; by default as --noise-sigma.",
)  # fmt: skip
@click.option(
    "--noise-limits", metavar="LOW HIGH", nargs=2, type=float, default=None,
    help="Pixels with noise outside are bad, too, in adu.",
)  # fmt: skip
@click.option(
    "--offset-limits", metavar="LOW HIGH", nargs=2, type=float, default=None,
    help="Pixels with pedestals outside are bad, too, in adu.",
)  # fmt: skip
@click.option(
    "--report/--no-report", default=True, show_default=True,
    help="Also write a page about the constants beside them (.zarr and .nc).",
)  # fmt: skip
@click.option(
    "--trains", metavar="A:B", callback=parse_trains,
    help="Positions of the trains to use, the end not included.",
)  # fmt: skip
@click.option(
    "--parallel-gain", is_flag=True, help="LPD: every pulse was stored in three gains."
)
@click.option(
    "--resume", is_flag=True, help="Continue an interrupted call (.zarr only)."
)
@click.option("--overwrite", is_flag=True, help="Replace an older result.")
@click.option("--dry-run", is_flag=True, help="Only say what would be read.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@where_options
def dark(
    run: str,
    output: Path | None,
    trains: slice,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make pedestal, noise and bad pixels from the dark frames of RUN."""
    check_usage(output, dry_run, options)
    opened = xf.open_run(run)
    frames = dark_frames(opened, run, trains, options)
    by = kept_dim(frames, options["by"])
    darks = all_ranges(frames, trains, options)
    try:
        constants = ops.dark_statistics(darks, by=by, **limits_of(options))
    except (TypeError, ValueError) as error:
        if not of_argument(error):
            raise
        raise click.UsageError(str(error)) from error
    workers = options["workers"]
    # Of processes that do not run yet the plan cannot ask dask.
    per_worker = {"workers": workers, "threads": 1} if workers else {}
    plan = opened.plan(constants, **per_worker)
    content = {
        "output": None if output is None else str(output),
        "report": None,
        "detector": frames.attrs.get("detector"),
        "by": by,
        "n_trains": frames.sizes[TRAIN],
        "sizes": {str(d): int(n) for d, n in constants.sizes.items()},
        "dry_run": dry_run,
        "plan": plan.to_dict(),
    }
    if not dry_run and output is not None:
        with scheduler(options), progress(f"writing {output.name}"):
            write(constants, output, options)
        warn_of_bad_pixels(output)
        if options["report"] and output.suffix.lower() in READ_BACK:
            content["report"] = str(report(output, frames.attrs.get("detector"), run))
    if as_json:
        tell_json(content)
    elif dry_run:
        tell("\n".join(f"{what:<12}{text}" for what, text in plan.rows()))
    else:
        if content["report"]:
            tell(f"report: {content['report']}", err=True)
        tell(str(output))


def warn_of_bad_pixels(output: Path) -> None:
    share = bad_share(output)
    if share is not None and share > MOST_BAD:
        show_warning(
            f"{share:.0%} of the pixels are bad: is this a dark run? Look at the"
            " report, or at --noise-sigma and --noise-limits"
        )


def limits_of(options: dict[str, Any]) -> dict[str, Any]:
    sigmas, limits = ("noise_sigma", "offset_sigma"), ("noise_limits", "offset_limits")
    return {name: options[name] for name in ("kind", *sigmas, *limits)}


def all_ranges(
    frames: xr.DataArray, trains: slice, options: dict[str, Any]
) -> xr.DataArray | dict[int, xr.DataArray]:
    """Return the frames, or those of every gain range if several runs are given."""
    if not options["gain_runs"]:
        return frames
    darks = {0: frames}
    for gain_range, path in options["gain_runs"].items():
        if gain_range in darks:
            raise click.UsageError(
                f"--gain-run {gain_range}=...: range 0 is RUN itself"
            )
        darks[gain_range] = dark_frames(xf.open_run(path), path, trains, options)
    return darks


def report(output: Path, detector: str | None, run: str) -> Path:
    """Write the report of constants that were just written, over an older one."""
    page = output.with_name(f"{output.stem}.html")
    title = f"Dark constants of {detector} from {run}"
    with READ_BACK[output.suffix.lower()](output) as constants:
        return write_dark_report(constants, page, title=title, overwrite=True)


def check_usage(output: Path | None, dry_run: bool, options: dict[str, Any]) -> None:
    if output is None and not dry_run:
        raise click.UsageError(
            "say where to write: -o constants.zarr, or --dry-run to write nothing"
        )
    if output is not None and output.suffix.lower() not in WRITERS:
        raise click.UsageError(
            f"no file format ends in {output.suffix!r} ({output.name}); there are"
            f" {', '.join(WRITERS)}"
        )
    if options["resume"] and output is not None and output.suffix.lower() != ".zarr":
        raise click.UsageError(
            f"--resume works with .zarr only, not with {output.name}"
        )


def dark_frames(
    opened: Run, run: str, trains: slice, options: dict[str, Any]
) -> xr.DataArray:
    """Return the frames to use, lazily; SelectionEmptyError if there is none."""
    chosen = opened.select_trains(trains)
    if not len(chosen.train_ids):
        raise SelectionEmptyError(
            f"--trains {trains.start or 0}:{'' if trains.stop is None else trains.stop}"
            f" selects none of the {len(opened.train_ids)} trains of {run}"
        )
    warn_if_lit(chosen, run)
    more: dict[str, Any] = {"parallel_gain": True} if options["parallel_gain"] else {}
    try:
        frames: xr.DataArray = chosen.frames(
            options["detector"], options["key"], **more
        )
    except (TypeError, ValueError) as error:
        if not of_argument(error):
            raise
        raise click.UsageError(str(error)) from error
    if not frames.size:
        raise SelectionEmptyError(
            f"{frames.attrs.get('detector')} has no frames in the"
            f" {len(chosen.train_ids)} selected trains of {run}"
        )
    # The voltage, too, gives the thresholds between gain ranges.
    if DATA_GAIN in frames.dims and not (options["kind"] and options["gain_runs"]):
        frames = frames.isel({DATA_GAIN: ANALOG}, drop=True)
    if CELL in frames.coords and int(frames[CELL].max()) >= MOST_CELLS:
        show_warning(
            f"memory cells up to {int(frames[CELL].max())}; if these are LPD data in"
            " parallel gain use --parallel-gain"
        )
    return frames


def warn_if_lit(chosen: Run, run: str) -> None:
    """Say of how many shots the run itself tells that X-rays came."""
    try:
        lit = chosen.scalars([XRAY])[XRAY] == 1
    except (XfelredError, KeyError, ValueError, TypeError):
        return  # most runs do not tell
    if bool(lit.any()):
        show_warning(
            f"{int(lit.sum())} of {lit.size} shots of {run} have {XRAY} = 1, so they"
            " are not dark; choose others with --trains"
        )


def kept_dim(frames: xr.DataArray, by: str | None) -> str | None:
    """Return the dim that the constants keep; the memory cell if that is possible."""
    if by == "none":
        return None
    cell = frames.coords.get(CELL)
    one_each = cell is not None and cell.dims == (PULSE,)
    if by == CELL and cell is None:
        raise click.UsageError(
            "--by cell: these frames have no memory cells; use --by pulse, or none"
        )
    if by == CELL and not one_each:
        raise click.UsageError(
            "--by cell needs the same memory cells in all trains, and here they differ;"
            " use --by pulse, or --trains to leave out what differs"
        )
    if by is None and not one_each:
        if cell is not None:
            tell("memory cells differ between trains: constants by pulse", err=True)
        return PULSE
    return by or CELL


def write(constants: xr.Dataset, output: Path, options: dict[str, Any]) -> None:
    """Write the constants; a format that cannot hold them is an error of the user."""
    resume, overwrite = options["resume"], options["overwrite"]
    try:
        xf.write(constants, output, resume=resume, overwrite=overwrite)
    except (TypeError, ValueError) as error:
        if not of_argument(error):
            raise
        raise click.ClickException(f"cannot write {output.name}: {error}") from error
