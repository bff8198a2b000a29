"""`xfelred info`: what is in a run."""

from __future__ import annotations

from typing import Any

import click

from xfelred.cli.words import of_argument, tell, tell_json
from xfelred.errors import (
    InconsistentDataError,
    SourceNameError,
    did_you_mean,
    listing,
)
from xfelred.readers.open import open_run
from xfelred.readers.protocol import Key, Run

which_run = click.option(
    "--run", "number", metavar="RUN",
    help="Which run of a file with several, or of a proposal: 34.",
)  # fmt: skip


@click.command()
@click.argument("source")
@which_run
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--source", "name", metavar="NAME", help="Show the keys of one source.")
def info(source: str, number: str | None, as_json: bool, name: str | None) -> None:
    """Show the sources, detectors and trains of SOURCE.

    SOURCE is a run directory, a file, or with --run a file or a proposal number.
    """
    opened = opened_run(source, number)
    if name is not None:
        content = describe_source(opened, name)
        text = "\n".join([name, *key_lines(content["keys"])])
    else:
        content = describe_run(opened)
        text = ""
    if as_json:
        tell_json(content)
    elif text:
        tell(text)
    else:
        opened.info()


def opened_run(source: str, run: str | None) -> Any:
    """Open a run; a name that stands for none is a fault in the command."""
    try:
        return open_run(source, run)
    except ValueError as error:
        if run is None or not of_argument(error):
            raise
        raise click.BadParameter(str(error), param_hint="'--run'") from error


def describe_run(run: Run) -> dict[str, Any]:
    # JSON knows no integers of numpy.
    trains = [int(train) for train in run.train_ids]
    return {
        "facility": run.facility,
        "run_id": run.run_id,
        "n_trains": len(trains),
        "first_train": trains[0] if trains else None,
        "last_train": trains[-1] if trains else None,
        "train_ids": trains,
        "detectors": {str(k): str(v) for k, v in sorted(run.detectors.items())},
        "sources": sorted(str(source) for source in run.sources),
    }


def describe_source(run: Run, source: str) -> dict[str, Any]:
    """Return the keys of a source, with the type and shape of their data."""
    sources = {str(name) for name in run.sources}
    if source not in sources:
        raise SourceNameError(
            f"no source {source!r} in run {run.run_id};"
            f" sources here: {listing(sorted(sources))}.{did_you_mean(source, sources)}"
        )
    keys = {str(key): describe_key(run[source, key]) for key in run.keys(source)}
    return {"source": source, "keys": dict(sorted(keys.items()))}


def describe_key(data: Key) -> dict[str, Any]:
    try:
        shape = [int(n) for n in data.shape]
    except InconsistentDataError:  # said when it is read
        return {"dtype": "differs between files", "shape": [], "units": None}
    return {"dtype": str(data.dtype), "shape": shape, "units": data.units or None}


def key_lines(keys: dict[str, dict[str, Any]]) -> list[str]:
    width = max(map(len, keys), default=0)
    lines = []
    for name, key in keys.items():
        facts = f"{key['dtype']} {tuple(key['shape'])} {key['units'] or ''}"
        lines.append(f"  {name:{width}}  {facts}".rstrip())
    return lines
