"""What all parts of recipes have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from xfelred.recipes.units import wrong_value


class Strict(BaseModel):
    """A part of a recipe; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Part = TypeVar("Part", bound=Strict)


def checked(kind: type[Part], values: Mapping[str, Any]) -> Part:
    """Return a part of a recipe; KeyedValueError for its first mistake."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        cause = (first.get("ctx") or {}).get("error")
        path = tuple(str(p) for p in first["loc"])
        raise wrong_value(path, str(cause or first["msg"])) from None
