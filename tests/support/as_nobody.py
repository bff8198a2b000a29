"""What a user without rights gets: run as a program, prints JSON by the name of a case.

    python tests/support/as_nobody.py DIRECTORY UID

The program gives up its rights when everything is imported and compiled, as others may
not read the interpreter; with a UID of -1 it was started without rights.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr

import xfelred as xf
from xfelred import geometry, ops
from xfelred.cli.main import run as command
from xfelred.products.dark_report import write_dark_report

RECIPE = {
    "schema_version": 1,
    "kind": "cube",
    "bins": {"delay": {"start": -3, "stop": 5, "step": 1}},
    "detectors": {"jungfrau1M": {"key": "calib"}},
    "quantities": ["sum", "count"],
    "output": {"formats": ["zarr"], "report": True},
}
DIRECTORIES = ("no_read", "no_enter")  # of runs
ONE_OF_SEVERAL = ("euxfel", "sacla", "lcls")
FIRST = {
    "euxfel": "CORR-R0001-AGIPD00-S00000.h5",
    "sacla": "300001_0.h5",
    "lcls": "xpptest01_Run0047.h5",
    "suite": "run.h5",
}
OUTPUTS = (".zarr", ".nc", ".h5", ".cxi", ".tif")


def described(error):
    """Everything that a test asks of an error."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return {
        "class": type(error).__name__,
        "ours": isinstance(error, xf.XfelredError),
        "access": isinstance(error, PermissionError),
        "text": str(error),
        "at": f"{where.filename}:{where.lineno}",
    }


def attempt(call):
    """Return what a call gives or raises, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = {"value": call()}
        except Exception as error:
            found = {"error": described(error)}
    return found | {"warned": [str(w.message) for w in caught]}


def of_command(*arguments):
    """Return exit code and text of a call of the command `xfelred`."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = command([str(a) for a in arguments])
    return code, text.getvalue()


def of_run(source):
    """Open a run with a file that cannot be read: what is left of it."""
    run = xf.open_run(source)
    frames = run.frames(bad_pixels=None)
    return {
        "left_out": [[os.path.basename(f.file), f.reason] for f in run.left_out],
        "info": of_command("info", source),
        "sum": float(frames.sum(dtype="f8")),
    }


@cache
def constants():
    """Return constants of a dark run."""
    dims = ("train", "module", "slow_scan", "fast_scan")
    dark = xr.DataArray(
        np.ones((3, 1, 4, 4)), dims=dims, coords={"module": [0]}, attrs={"units": "adu"}
    )
    return ops.dark_statistics({0: dark}).compute()


def reading(place):
    """Cases that read."""
    for name in DIRECTORIES:
        folder = place / name
        yield f"open {name}", lambda f=folder: xf.open_run(f)
        yield f"check {name}", lambda f=folder: repr(xf.check(f))
        yield f"command check {name}", lambda f=folder: of_command("check", f)
    file = place / "no_enter" / "run.h5"
    yield "open a file in no_enter", lambda: xf.open_run(file)
    yield "open a list of files in no_enter", lambda: xf.open_run([file, file])
    yield "open a glob in no_enter", lambda: xf.open_run(f"{file.parent}/*.h5")
    for name in FIRST:
        one = place / f"{name}_none" / FIRST[name]
        yield f"open one of {name}", lambda f=one: xf.open_run(f)
        yield (
            f"open one of {name} by facility",
            lambda f=one, n=name: xf.open_run(f, facility=n.replace("suite", "lcls")),
        )
        yield f"check one of {name}", lambda f=one: repr(xf.check(f))
        yield f"command check one of {name}", lambda f=one: of_command("check", f)
        yield f"command info one of {name}", lambda f=one: of_command("info", f)
        yield (
            f"command dark one of {name}",
            lambda f=one: of_command(
                "dark", f, "-o", place / "may_write" / f"{f.stem}.zarr"
            ),
        )
    yield "open all of euxfel", lambda: xf.open_run(place / "euxfel_none")
    for name in ONE_OF_SEVERAL:
        some = place / f"{name}_some"
        yield f"some of {name}", lambda s=some: of_run(s)
        yield f"check some of {name}", lambda s=some: repr(xf.check(s))


def writing(place):
    """Cases that write where this user may not, from data that it may read."""
    closed, lcls = place / "no_write", place / "lcls_all" / "xpptest01_Run0047.h5"
    ds = xr.Dataset({"a": ("x", [1.0])})
    for suffix in OUTPUTS:
        yield f"write {suffix}", lambda s=suffix: xf.write(ds, closed / f"a{s}")
    yield "write to be resumed", lambda: xf.write(ds, closed / "b.zarr", resume=True)
    yield "write over", lambda: xf.write(ds, closed / "old.h5", overwrite=True)
    yield "write_cube", lambda: xf.write_cube(xf.open_run(lcls), RECIPE, closed)
    yield (
        "write_cube below",
        lambda: xf.write_cube(xf.open_run(lcls), RECIPE, closed / "new" / "cubes"),
    )
    page = closed / "dark.html"
    yield "dark report", lambda: write_dark_report(constants(), page, title="dark")
    rings = geometry.Geometry.from_quad_positions(
        "AGIPD1M", [(-525, 625), (-550, -10), (520, -160), (542.5, 475)], distance=0.2,
        energy=9300,
    )  # fmt: skip
    yield "to_crystfel", lambda: rings.to_crystfel(closed / "a.geom")
    run = place / "euxfel_all"
    yield (
        "virtual cxi",
        lambda: xf.write_virtual_cxi(xf.open_run(run).detector(), closed / "v.cxi"),
    )
    yield "synth", lambda: xf.synth.lcls.write_smalldata(closed / "xpp_Run0001.h5")
    yield "command dark", lambda: of_command("dark", run, "-o", closed / "dark.zarr")
    recipe = place / "recipe.yaml"
    yield "command cube", lambda: of_command("cube", lcls, recipe, "-o", closed)
    yield "command demo", lambda: of_command("demo", closed / "demo")


def around(place):
    """Cases in which what xfelred keeps for itself cannot be kept."""
    closed, run = place / "no_write", place / "euxfel_all"

    def without_cache(where):
        with xf.options(cache_directory=where):
            return float(xf.open_run(run).frames(bad_pixels=None).sum(dtype="f8"))

    yield "cache in no_write", lambda: without_cache(closed / "cache")
    yield "cache is no_write", lambda: without_cache(closed)
    yield "cache in no_enter", lambda: without_cache(place / "no_enter" / "cache")
    yield "sum", lambda: without_cache(None)


def rehearse(place):
    """Import and compile what is imported and compiled late."""
    with tempfile.TemporaryDirectory() as warm:
        for suffix in OUTPUTS:
            da = xr.DataArray(np.ones((4, 4)), dims=("slow_scan", "fast_scan"))
            attempt(lambda s=suffix, da=da: xf.write(da, f"{warm}/a{s}"))
        write_dark_report(constants(), Path(warm) / "dark.html", title="dark")
        of_command("dark", place / "euxfel_all", "-o", f"{warm}/dark.zarr")
    for name in ONE_OF_SEVERAL:
        of_run(place / f"{name}_all")


def main(place, uid):
    """Try all cases."""
    rehearse(Path(place))
    if uid != "-1":
        os.setgroups([])
        os.setgid(int(uid))
        os.setuid(int(uid))
    found = {"who": [os.geteuid(), os.getegid(), os.getgroups()]}
    for cases in (reading, writing, around):
        for name, call in cases(Path(place)):
            found[name] = attempt(call)
    sys.stdout.write(json.dumps(found, default=str) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
