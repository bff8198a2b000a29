"""What dask's configuration of a site and of its user says about jobs of SLURM."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import dask.config

from xfelred.errors import ArgumentTypeError, ConfigError, did_you_mean, listing, warn

SECTION, SLURM = "jobqueue", "slurm"
# Sections of dask-jobqueue that are about other systems of queues.
OTHER_QUEUES = ("htcondor", "local", "lsf", "moab", "oar", "pbs", "sge")
# dask-jobqueue 0.9 still reads the old names where the new ones say nothing.
OLD_NAMES = {
    "extra": "worker-extra-args",
    "job-extra": "job-extra-directives",
    "env-extra": "job-script-prologue",
    "header-skip": "job-directives-skip",
    "project": "account",
}
# Passed on as they are.
PASSED_ON = (
    "death-timeout",
    "job-cpu",
    "job-directives-skip",
    "job-mem",
    "shebang",
    "worker-command",
)
USED = (
    *PASSED_ON, "account", "cores", "interface", "job-extra-directives",
    "job-script-prologue", "local-directory", "log-directory", "memory", "name",
    "processes", "python", "queue", "scheduler-options", "shared-temp-directory",
    "walltime", "worker-extra-args",
)  # fmt: skip
ANY_NAME = "dask-worker"  # of jobs, where nobody gave one

Settings = dict[str, object]


def profiles() -> dict[str, Settings]:
    """Return the kinds of jobs that dask's configuration describes.

    The configuration is that of dask-jobqueue: a section ``jobqueue.slurm``, and any
    number of others beside it, in ``~/.config/dask/*.yaml`` or where a site has it
    (``/etc/dask``, `DASK_ROOT_CONFIG`). What another section leaves out is that of
    ``slurm``.

    Returns
    -------
    dict of str to dict
        For each name, which `xfelred.cluster.slurm` takes as ``profile=``, what is set.

    Examples
    --------
    >>> import dask
    >>> import xfelred as xf
    >>> beam = {"queue": "upex", "job-extra-directives": ["--reservation=beam"]}
    >>> with dask.config.set({"jobqueue.beamtime": beam}):
    ...     found = xf.cluster.profiles()
    >>> found["beamtime"]["queue"], found["beamtime"]["job-extra-directives"]
    ('upex', ['--reservation=beam'])
    """
    sections = dask.config.get(SECTION, None) or {}
    names = [n for n in sections if n not in OTHER_QUEUES and n != SLURM]
    return {
        name: {k: v for k, v in settings_of(name).items() if v not in (None, [], {})}
        for name in (SLURM, *names)
    }


def settings_of(profile: str | None) -> Settings:
    """Return all settings of a section, with the names of today."""
    import_module("dask_jobqueue")  # sets its defaults
    sections = dask.config.get(SECTION)
    settings = section(SLURM, sections[SLURM] or {})
    if profile is None or profile == SLURM:
        return settings
    if not isinstance(profile, str):
        raise ArgumentTypeError(
            f"profile must be the name of a section, got {type(profile).__name__}"
        )
    known = [n for n in sections if n not in OTHER_QUEUES]
    if profile not in known:
        raise ConfigError(
            f"dask's configuration has no section {SECTION}.{profile}; it has"
            f" {listing(known)}.{did_you_mean(profile, known)}"
        )
    return {**settings, **section(profile, sections[profile])}


def section(name: str, content: object) -> Settings:
    """Return the settings of a section under the names of today."""
    if not isinstance(content, Mapping):
        raise ConfigError(
            f"{SECTION}.{name} of dask's configuration must be a mapping of settings,"
            f" such as cores and memory, got {type(content).__name__}"
        )
    given = {str(k).replace("_", "-"): v for k, v in content.items()}
    for old, new in OLD_NAMES.items():
        value = given.pop(old, None)
        if value is not None and not given.get(new):
            given[new] = value
    if unknown := sorted(given.keys() - set(USED)):
        warn(
            f"{SECTION}.{name} of dask's configuration sets {listing(unknown)}, which"
            " xfelred does not know: without effect"
        )
    return {k: v for k, v in given.items() if k in USED}


def texts(settings: Settings, name: str) -> list[str]:
    """Return a list of settings as text; one that is alone counts as a list."""
    value = settings.get(name) or []
    if isinstance(value, Mapping):  # dask-jobqueue takes options so, too
        return [f"{k}={v}" if v is not None else str(k) for k, v in value.items()]
    return [str(v) for v in (value if isinstance(value, list | tuple) else [value])]
