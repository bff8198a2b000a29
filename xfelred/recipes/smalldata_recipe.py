"""Recipes of small data: what is made of every shot of a run."""

from __future__ import annotations

from xfelred.recipes.cube_recipe import check_common_modes
from xfelred.recipes.recipe import Recipe
from xfelred.recipes.smalldata_models import SmallDataModel


class SmallDataRecipe(Recipe):
    """A checked recipe of small data; see the keys in `json_schema`.

    Attributes
    ----------
    model : SmallDataModel
        Every key with its value or default.
    source : Parsed
        Where it came from, for messages.

    Examples
    --------
    >>> recipe = SmallDataRecipe.from_text('''
    ... schema_version: 1
    ... kind: smalldata
    ... user: {i0: "`ipm2/sum` / 2"}
    ... detectors:
    ...   jungfrau1M:
    ...     functions:
    ...     - {function: roi, name: ROI_0, bounds: [[4, 20], [8, 40]]}
    ... ''')
    >>> recipe.model.detectors["jungfrau1M"].functions[0].called
    'ROI_0'
    """

    kind = "smalldata"
    of_model = SmallDataModel
    model: SmallDataModel

    def check(self) -> None:
        """Raise ConfigError for common modes that do not fit their detector."""
        check_common_modes(self, self.model.detectors)
