"""What a psana2 source string names: ``exp=xpptut15:run=14:dir=/data``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

from xfelred.errors import ConfigError, did_you_mean

KEYS = ("exp", "run", "dir", "files", "detectors")
SUFFIX = ".xtc2"


@dataclass(frozen=True)
class Address:
    """Where the files of a run are; hashable and picklable."""

    exp: str = ""  # experiment, empty with `files`
    run: int = -1  # its number, -1 with `files`
    dir: str = ""  # of the ``.xtc2`` files; empty: where the facility keeps them
    files: str = ""  # a single ``.xtc2`` file, in place of the others
    detectors: tuple[str, ...] = ()  # read only the streams of these; empty: all
    # Ask no service of the facility: neither its log book nor its constants.
    offline: bool = False

    def text(self) -> str:
        """Return the address as text that `from_json` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Address:
        fields = json.loads(text)
        return cls(**{**fields, "detectors": tuple(fields["detectors"])})

    def __str__(self) -> str:
        if self.files:
            return self.files
        where = f":dir={self.dir}" if self.dir else ""
        return f"exp={self.exp}:run={self.run}{where}"


def is_address(source: object) -> bool:
    """Return whether a source is a psana2 string or an ``.xtc2`` file."""
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        return False
    if source.endswith(SUFFIX) and os.path.isfile(source):
        return True
    first, equals, _ = source.partition("=")
    return bool(equals) and first in ("exp", "files")


def parse(
    source: str | os.PathLike[str],
    run: int | str | None = None,
    *,
    offline: bool = False,
) -> Address:
    """Return the address that a source string names.

    It is ``exp=NAME:run=NUMBER[:dir=PATH][:detectors=NAME,NAME]``, ``files=PATH`` or
    the path of an ``.xtc2`` file. ``dir`` and ``files`` may hold colons if they are
    last. `run` counts if the string has none.
    """
    text = os.fspath(source)
    if text.endswith(SUFFIX) and "=" not in text:
        return Address(files=text, offline=offline)
    found = pairs(text)
    if "files" in found:
        if set(found) != {"files"}:
            raise ConfigError(f"{text!r}: files= stands alone, without exp, run or dir")
        return Address(files=found["files"], offline=offline)
    number = found.get("run", run)
    if not found.get("exp") or number is None:
        raise ConfigError(
            f"{text!r} names no run: need exp= and run=, such as"
            " exp=xpptut15:run=14:dir=/path/to/xtc, or files=/path/to/file.xtc2"
        )
    if not str(number).isdecimal():
        raise ConfigError(f"{text!r}: run must be a number, not {number!r}")
    names = tuple(n for n in found.get("detectors", "").split(",") if n)
    return Address(found["exp"], int(number), found.get("dir", ""), "", names, offline)


def pairs(text: str) -> dict[str, str]:
    """Return keys and values; a piece without a known key goes on with the last."""
    found: dict[str, str] = {}
    last = ""
    for piece in text.split(":"):
        key, equals, value = piece.partition("=")
        if not equals and last in ("dir", "files"):
            found[last] += f":{piece}"  # a colon inside a path
            continue
        if not equals or key not in KEYS:
            raise ConfigError(
                f"{text!r}: {piece!r} is not one of {', '.join(k + '=' for k in KEYS)}."
                f"{did_you_mean(key, KEYS)}"
            )
        if key in found:
            raise ConfigError(f"{text!r} names {key} twice")
        found[key] = value
        last = key
    return found
