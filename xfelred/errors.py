"""Exceptions that users see.

Every class derives from `XfelredError` and from the built-in exception that
describes its kind, so that ``except ValueError`` and ``except KeyError`` keep working.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

# Where our own frames are; `__init__` of a dataclass stands in no file.
OURS = (os.path.dirname(__file__) + os.sep, "<string>")
MAX_TEXT = 1500  # characters of a message
MAX_SHOWN = 80  # characters of one value in a message
MAX_ENTRIES = 6  # of a list in a message
MAX_BITS = 256  # of an integer in a message; Python refuses to print the very long
# What a terminal acts upon, or a reader of text cannot see: C0 (but tabs and ends of
# lines), DEL, C1, marks that turn the direction of writing or have no width, tags;
# and halves of characters, at which `print` fails.
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def printable(text: object) -> str:
    r"""Return text in which control characters are shown, such as ``\x1b``.

    Names in files are whatever somebody wrote there; a terminal acts upon some.

    Examples
    --------
    >>> print(printable("\x1b[2Jepix"))
    \x1b[2Jepix
    """
    return CONTROL.sub(lambda m: ascii(m[0])[1:-1], str(text))


def one_line(text: object) -> str:
    r"""Return text as `printable` does, with ``\n`` for the end of a line, too.

    For names, which otherwise could add lines of their own to a list.
    """
    return printable(text).replace("\n", "\\n")


def shortened(text: str, limit: int = MAX_TEXT) -> str:
    """Return text of at most `limit` characters: its middle is left out."""
    if len(text) <= limit:
        return text
    half = limit // 2 - 30
    left_out = len(text) - 2 * half
    return f"{text[:half]} ... [{left_out} characters] ... {text[-half:]}"


# Where what is warned of is noted; see `hdf5.remembered`.
HEARD: ContextVar[list[str] | None] = ContextVar("HEARD", default=None)


def warn(text: object, *, kind: type[Warning] = UserWarning) -> None:
    """Warn a user, as `warnings.warn` does, in text that is safe to print.

    The warning belongs to the line that called xfelred, however deep inside it is made.
    """
    if (said := HEARD.get()) is not None:
        said.append(str(text))
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_code.co_filename.startswith(OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(shortened(printable(text)), kind, stacklevel=level)


def logger_of(name: str) -> logging.Logger:
    """Return the logger of a module, whose messages are safe to print."""
    found = logging.getLogger(name)
    found.addFilter(made_printable)
    return found


def made_printable(record: logging.LogRecord) -> bool:
    record.msg, record.args = shortened(printable(record.getMessage())), None
    return True


class XfelredError(Exception):
    """Base of all errors that xfelred raises on purpose."""

    def __str__(self) -> str:
        # KeyError shows the repr of its message; users want the text.
        text = str(self.args[0]) if len(self.args) == 1 else super().__str__()
        return shortened(printable(text))


class _KeyedError(XfelredError, KeyError):
    """A name is not known."""


class ArgumentError(XfelredError, ValueError):
    """An argument has a value that it cannot have."""


class ArgumentTypeError(XfelredError, TypeError):
    """An argument is not of the kind that is wanted."""


class ArgumentKindError(ArgumentTypeError, ArgumentError):
    """An argument of a public function is not of the kind of its annotation."""


class MissingFileError(XfelredError, FileNotFoundError):
    """There is no file or directory of this name."""


class OutOfRangeError(XfelredError, IndexError):
    """A position is beyond the end of what it counts."""


class NotPossibleError(XfelredError, NotImplementedError):
    """What was asked for is not possible with these data; also a RuntimeError."""


class DoesNotFitError(XfelredError, OverflowError):
    """A number does not fit the numbers of an array."""


class NoAccessError(XfelredError, PermissionError):
    """A file or directory may not be read, or not be written, by this user."""


class TooLargeError(XfelredError, MemoryError):
    """A result, or what a file wants to hold, does not fit in memory."""

    # MemoryError makes its own instances in a way that Python refuses for classes with
    # another base in front, where they are made by name: on the way from a worker.
    __new__ = Exception.__new__  # type: ignore[assignment]


class SourceNotFound(_KeyedError):  # noqa: N818 - the name that users were promised
    """What was asked for by name is not in the run: a source, or frames of it."""


class SourceNameError(SourceNotFound):
    """A source (device, detector) is not in the run."""


class ConfigError(XfelredError, ValueError):
    """A recipe, or the description of a run, is wrong.

    Attributes
    ----------
    path : str
        File of the recipe, empty if it came from elsewhere.
    line : int or None
        Line in that file, counted from 1.
    key : str
        Such as ``bins.delay.stop``.
    """

    def __init__(
        self, message: str, *, path: str = "", line: int | None = None, key: str = ""
    ) -> None:
        super().__init__(message)
        self.path = path
        self.line = line
        self.key = key


class PropertyNameError(_KeyedError):
    """A key is not in a source."""


class TrainIDError(_KeyedError):
    """A train ID is not in the run."""


class ShotNameError(XfelredError, ValueError, TypeError):
    """What should be the ID of a train, a tag or a shot is none."""


class NoAxisError(XfelredError, ValueError, IndexError):
    """An array does not have an axis; of the kinds of numpy's AxisError."""


class RunNameError(XfelredError, TypeError):
    """What should be opened is named twice, or not at all."""


class SelectionEmptyError(XfelredError, ValueError):
    """Nothing is left after a selection.

    Attributes
    ----------
    cut_flow : CutFlow or None
        How many shots pass each cut, if cuts selected.
    cut_flows : sequence of dict
        The same for each laser state of a cube, as in `CubeResult.cut_flow`.
    """

    cut_flow: Any = None
    cut_flows: Sequence[dict[str, Any]] = ()


class UnknownFormatError(XfelredError, ValueError):
    """A path does not hold data of a known facility."""


class BrokenFileError(XfelredError, OSError):
    """A file is damaged, truncated or inconsistent with its own index."""


class UnreadableFileError(BrokenFileError, NoAccessError):
    """A file of a run may not be read by this user; the others of the run may."""


class DamagedChunkError(XfelredError, ValueError):
    """Packed bytes cannot be unpacked; who knows the file says which."""


class MissingPartError(BrokenFileError):
    """A file keeps some of its data in another one, which is not there."""


class InconsistentDataError(XfelredError, ValueError):
    """Parts of a run contradict each other (duplicates, labels, frame counts)."""


class MultiRunError(XfelredError, ValueError):
    """One run was asked for where data of several were joined."""


class NoDataError(XfelredError, ValueError):
    """A value was asked for from an empty selection."""


class MissingConstantError(XfelredError, ValueError):
    """A calibration constant, or a coordinate that an operation needs, is missing."""


class UnitsError(XfelredError, ValueError):
    """A number is not possible in the unit that it stands for."""


class GeometryMismatchError(XfelredError, ValueError):
    """A geometry does not fit the modules or pixels of the data."""


class NoBitsError(XfelredError, TypeError):
    """Bits were asked for of numbers that are not integers."""


class SumOverflowError(DoesNotFitError):
    """A sum of integers does not fit the integers of the result."""


class PositionError(XfelredError, IndexError):
    """A position is outside of an axis, or a boolean index is of another length."""


class SchedulerError(XfelredError, RuntimeError):
    """Dask is set up in a way in which this cannot be computed."""


class OutputExistsError(XfelredError, FileExistsError):
    """A product would replace something, or continue something unfinished."""


class OutputError(XfelredError, OSError):
    """The disk did not take a product."""


class WorkersLostError(XfelredError, RuntimeError):
    """Workers of a cluster died, or the cluster itself."""


class ClusterError(XfelredError, ConnectionError):
    """A cluster cannot be started, or cannot be reached."""


class MissingExtraError(XfelredError, ImportError):
    """An optional dependency is not installed."""


def listing(names: Iterable[object], limit: int = 8) -> str:
    """Return the first `limit` names, comma separated, for use in a message."""
    items = list(names)
    more = f", ... ({len(items) - limit} more)" if len(items) > limit else ""
    return (", ".join(map(one_line, items[:limit])) + more) or "none"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty text."""
    if not isinstance(name, str) or len(name) > MAX_TEXT:
        return ""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def no_such(
    what: str, name: str, known: Iterable[str], where: str = "", limit: int = 8
) -> str:
    """Return the message that there is no `what` of this name, and what there is."""
    known = list(known)
    near = did_you_mean(name, known)
    return f"no {what} {name!r}{where}.{near} There are: {listing(known, limit)}"


def shown(value: object) -> str:
    """Return a value for use in a message: short, and never the numbers of an array.

    Examples
    --------
    >>> shown("mean"), shown([1, 2.5]), shown(range(100))
    ("'mean'", '[1, 2.5]', 'range(0, 100)')
    >>> shown(list(range(100)))
    'list of 100 entries'
    """
    kind = type(value).__name__
    value = python_scalar(value)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (str, bytes)) and len(value) > MAX_SHOWN:
        return f"{value[: MAX_SHOWN // 2]!r}... ({len(value)} characters)"
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        if len(value) > MAX_ENTRIES:
            return f"{kind} of {len(value)} entries"
        if isinstance(value, (list, tuple)):
            inside = ", ".join(map(shown, value))
            return f"[{inside}]" if isinstance(value, list) else f"({inside})"
        return f"{kind}({', '.join(map(shown, value))})"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, PLAIN):
        return repr(value)
    return f"{kind}{size_of(value)}"


PLAIN = (str, bytes, bool, int, float, complex, slice, range, os.PathLike, type(None))


def python_scalar(value: object) -> Any:
    """Return a scalar of numpy as that of Python, and all else as it is."""
    # By name: this module, which everything imports, imports no numpy.
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return getattr(value, "item", lambda: value)()
    return value


def size_of(value: object) -> str:
    sizes = getattr(value, "sizes", None)
    if isinstance(sizes, Mapping):
        return f" with dims ({listing(f'{dim}: {n}' for dim, n in sizes.items())})"
    shape = getattr(value, "shape", None)
    return f" of shape {shape}" if isinstance(shape, tuple) else ""


def must_be_one_of(name: str, given: object, known: Iterable[object]) -> None:
    """Raise ArgumentError with the nearest word if `given` is no known value.

    Examples
    --------
    >>> must_be_one_of("how", "maen", ("mean", "sum"))
    Traceback (most recent call last):
    xfelred.errors.ArgumentError: how='maen' must be one of 'mean', 'sum'. Did you mean 'mean'?
    """  # noqa: E501 - the message is one line
    choices = list(known)
    given = python_scalar(given)
    # An array compares into an array, and 1 is no answer where True is wanted.
    if isinstance(given, PLAIN) and any(
        given == k and isinstance(given, bool) == isinstance(k, bool) for k in choices
    ):
        return
    words = [k for k in choices if isinstance(k, str)]
    near = did_you_mean(given, words) if isinstance(given, str) else ""
    raise ArgumentError(
        f"{name}={shown(given)} must be one of {listing(map(repr, choices), 24)}.{near}"
    )


def not_nan(**values: float | None) -> None:
    """Raise ArgumentError for a NaN, which would cut off all, or nothing."""
    for name, value in values.items():
        if value is not None and value != value:
            raise ArgumentError(f"{name}=nan is no limit; leave it out for none")


def require_extra(module: str, extra: str) -> MissingExtraError:
    """Return the error that tells how to install the extra which holds `module`."""
    return MissingExtraError(
        f"this needs the package {module!r}, which is not installed;"
        f" install it with: pip install 'xfelred[{extra}]'"
    )
