"""What `frames` of a run was asked for, the same for every facility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dask.utils import parse_bytes

CHOICES = {
    "layout": ("train", "frame"),
    "bad_pixels": ("apply", "keep", None),
    "missing": ("fill", "drop", "raise"),
}


@dataclass(frozen=True)
class FramesRequest:
    """What `frames` was asked for, checked."""

    key: str
    pulses: Any
    layout: Literal["train", "frame"]
    modules: Any
    roi: Any
    fill_value: Any
    astype: Any
    bad_pixels: Literal["apply", "keep"] | None
    chunk_size: str | int
    missing: Literal["fill", "drop", "raise"]

    def __post_init__(self) -> None:
        """Raise ValueError for a word that is not a choice."""
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {choices}, not {getattr(self, name)!r}"
                )
        if parse_bytes(self.chunk_size) < 1:
            raise ValueError(
                "chunk_size must be positive, such as '128MiB', not"
                f" {self.chunk_size!r}"
            )
