"""The few settings that there are: `xf.options`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import dask.config
from dask.utils import parse_bytes

from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    did_you_mean,
    listing,
    python_scalar,
    shown,
)
from xfelred.progress_line import ProgressLine

UNSET = "unset"  # no setting has this value
WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def memory_guard(value: object) -> bool | int:
    value = python_scalar(value)
    if isinstance(value, str) and value.strip().lower() in WORDS:
        return WORDS[value.strip().lower()]
    # As in the environment, 0 switches it off.
    if isinstance(value, bool) or (isinstance(value, int) and value == 0):
        return bool(value)
    try:
        size = int(parse_bytes(value))
    except (TypeError, ValueError, AttributeError, OverflowError):
        size = -1
    if size < 0:
        raise ArgumentError(
            f"memory_guard is {shown(value)}; give True (what is free), False (no"
            " guard), or a size such as '20 GB'"
        )
    return size


def progress(value: object) -> bool | None:
    if isinstance(value, str) and value.strip().lower() in WORDS:
        return WORDS[value.strip().lower()]
    if value is None or isinstance(value, bool):
        return value
    raise ArgumentError(
        f"progress is {shown(value)}; give True (always shown), False (never), or"
        " None (by the command, not in Python)"
    )


def cache_directory(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, (str, os.PathLike)) and "\0" not in os.fspath(value):
        return os.fspath(os.path.abspath(os.path.expanduser(value)))
    raise ArgumentTypeError(
        f"cache_directory is {shown(value)}; give the path of a directory of"
        " your own, or None"
    )


# What checks a value, the variable of the environment, and what holds without either.
Known = tuple[Callable[[Any], Any], str, Any]
SETTINGS: dict[str, Known] = {
    "memory_guard": (memory_guard, "XFELRED_MEMORY_GUARD", True),
    "progress": (progress, "XFELRED_PROGRESS", None),
    "cache_directory": (cache_directory, "XFELRED_CACHE_DIR", None),
}


def setting(name: str) -> Any:
    check, variable, default = SETTINGS[name]
    value = dask.config.get(f"xfelred.{name}", UNSET)
    if value == UNSET:
        value = os.environ.get(variable) or default
    return check(value)


def is_shown() -> bool:
    # In Python; the command looks at the setting itself.
    return setting("progress") is True


LINE = ProgressLine(is_shown)


class Options:
    """The settings of the package; call it to change some.

    They are kept in dask's configuration under ``xfelred``, and so hold in the threads
    of this process and in workers that are started afterwards. What is not set is read
    from variables of the environment.

    Examples
    --------
    >>> from xfelred import options
    >>> with options(memory_guard="20 GB"):
    ...     print(options.memory_guard)
    20000000000
    >>> options.memory_guard
    True
    """

    def __call__(self, **settings: object) -> Changed:
        """Change settings, for good or inside a ``with`` statement.

        Parameters
        ----------
        memory_guard : bool, int or str, optional
            True: a result that does not fit in the memory that is free is refused
            before anything is read. False: it is not. A size (``"20 GB"``): what takes
            more is refused, whatever is free. By default `XFELRED_MEMORY_GUARD`, else
            True.
        progress : bool or None, optional
            True: computations on threads show a bar on stderr; False: the command
            `xfelred` shows nothing either; None: the command does, Python does not. By
            default `XFELRED_PROGRESS`, else None.
        cache_directory : path or None, optional
            A directory of your own, in which what files say of their trains, sources,
            images and chunks is kept for the next session; None: nowhere. A file that
            has changed since is read. By default `XFELRED_CACHE_DIR`, else None.

        Returns
        -------
        context manager
            It puts the settings back at the end of a ``with`` statement.

        Raises
        ------
        ArgumentTypeError
            There is no such setting.
        ArgumentError
            It cannot have this value.
        """
        checked = {}
        for name, value in settings.items():
            if name not in SETTINGS:
                raise ArgumentTypeError(
                    f"there is no option {name!r}; there are {listing(SETTINGS)}."
                    f"{did_you_mean(name, SETTINGS)}"
                )
            checked[f"xfelred.{name}"] = SETTINGS[name][0](value)
        changed = Changed(checked)
        if is_shown():
            LINE.register()
        return changed

    def __getattr__(self, name: str) -> Any:
        """Return the value of a setting."""
        if name in SETTINGS:
            return setting(name)
        raise AttributeError(
            f"there is no option {name!r}; there are {listing(SETTINGS)}"
            f".{did_you_mean(name, SETTINGS)}"
        )

    def __setattr__(self, name: str, value: object) -> None:
        # It would hide the setting, and change nothing.
        raise AttributeError(
            f"options.{name} = ... changes nothing; call"
            f" xf.options({name}={shown(value)})"
        )

    def __dir__(self) -> list[str]:
        return list(SETTINGS)

    def __repr__(self) -> str:
        lines = [f"  {name:<16} {setting(name)!r}" for name in SETTINGS]
        return "\n".join(["<xfelred.options>", *lines])


class Changed(dask.config.set):  # type: ignore[misc]
    """Settings that were changed; the end of a ``with`` statement puts them back."""

    def __enter__(self) -> Options:
        return options

    def __repr__(self) -> str:
        return repr(options)


options = Options()
if os.environ.get(SETTINGS["progress"][1]) and is_shown():
    LINE.register()
