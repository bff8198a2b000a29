"""Workers whose programs are of other versions than those here are named."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping

import distributed

from xfelred import __version__
from xfelred.errors import warn
from xfelred.provenance import version_of

# What makes numbers, or reads them. Of dask and what it sends with, dask itself warns.
PACKAGES = ("numpy", "numba", "h5py", "xarray", "scipy")
TOPIC = "xfelred-versions"
NOTHING = "none"


def watch_versions(client: distributed.Client) -> None:
    """Warn of each kind of worker, there or to come, that has other versions.

    Such a worker computes all the same: by other rules, or until it meets what it does
    not know.
    """
    here = versions()
    tell = name_differences(here)
    client.subscribe_topic(TOPIC, tell)
    client.register_plugin(teller(here))
    # What workers that are there already logged can be older than the subscription.
    present = client.scheduler_info(n_workers=-1)["workers"]
    for event in client.get_events(TOPIC):
        if event[1].get("address") in present:
            tell(event)


def versions() -> dict[str, str]:
    found = {name: version_of(name, NOTHING) for name in PACKAGES}
    return {"xfelred": __version__, **found}


def name_differences(
    here: Mapping[str, str],
) -> Callable[[tuple[float, dict[str, str]]], None]:
    told: set[str] = set()

    def tell(event: tuple[float, dict[str, str]]) -> None:
        _, found = event  # the time, and what was logged
        parts = [
            f"{name} {found.get(name, NOTHING)} (here {of_mine})"
            for name, of_mine in here.items()
            if found.get(name, NOTHING) != of_mine
        ]
        text = ", ".join(parts)
        if parts and text not in told:  # of a thousand workers, once
            told.add(text)
            warn(
                f"workers of this cluster, such as {found.get('address')}, have {text}:"
                " their results can differ from those here, or fail; start them from"
                " the same environment as this program"
            )

    return tell


def teller(here: Mapping[str, str]) -> distributed.WorkerPlugin:
    """Return what every worker runs when it starts, to log versions that differ.

    The class stands in a function so that it is sent itself, not its name: workers
    with another xfelred do not have this module. It uses nothing of it but modules of
    Python itself.
    """
    wanted, topic = dict(here), TOPIC

    class Versions(distributed.WorkerPlugin):  # type: ignore[misc]
        name = topic

        def setup(self, worker: distributed.Worker) -> None:
            found = {}
            for package in wanted:
                try:
                    found[package] = (
                        importlib.import_module(package).__version__
                        if package == "xfelred"
                        else importlib.metadata.version(package)
                    )
                except (ImportError, AttributeError):
                    found[package] = "none"
            if found != wanted:
                worker.log_event(topic, {**found, "address": worker.address})

    return Versions()
