"""Section ``normalized``: the columns that are scaled, and the rows that the scaling is fitted on."""

from itertools import combinations
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import Location, Section, Switch, repeated
from assay.spec.extensions import Extension, OrPlugin
from assay.spec.plugins import FEATURES

FeatureKeys = tuple[Annotated[str, Field(min_length=1)], ...]
"""Column names or globs such as ``px_*``."""


class FeatureFunction(Section):
    """A function of an installed package that chooses columns. Subclasses add ``kind`` and their own keys."""

    kind: str
    """Name of the function."""


AnyFeatureKeys = Annotated[
    FeatureKeys | FeatureFunction, OrPlugin(FEATURES, Extension, FeatureFunction, (), FeatureKeys)
]
"""Names and globs of columns; or the name of a function that returns names, alone or with its keys."""

KEY_FIELDS = ("scalar_feature_keys", "binary_feature_keys", "categorical_feature_keys")


class NormalizedSection(Section):
    """Scales columns; the scaling is fitted on train, stored, and applied to the other subsets."""

    scalar_feature_keys: AnyFeatureKeys | None = None
    """Numeric columns, scaled so that the fitted rows range from 0 to 1, as names or globs, or the name of a function
    that an installed package registers. Null: ``px_*`` of images, or every numeric column of a table except the
    target; an empty list: none."""
    binary_feature_keys: AnyFeatureKeys | None = None
    """Columns with two values, which become 0 and 1, as names, globs or the name of a function. Null: every boolean
    column of a table except the target."""
    categorical_feature_keys: AnyFeatureKeys | None = None
    """Columns with categories, which are encoded by their index in sorted order, as names, globs or the name of a
    function. Null: every text column of a table except the target."""
    fit_on: Literal["train", "all"] = "train"
    """Rows that the scaling is fitted on. ``all`` leaks test data into it; use it only to compare with old results."""
    unseen_categories: Literal["error", "code"] = "error"
    """Categories that the fitted rows lack: ``error``, or ``code`` for one additional index for all of them."""
    output_norm_feature_info_file_name: str = Field(
        default="normalization_info.yaml", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,90}\.ya?ml$"
    )
    """Name of the file that records how each column was scaled."""
    output_parq_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even if a complete result exists, which is kept until the new one is complete."""

    @property
    def output_location(self) -> str:
        """``output_parq_location`` under the name that the other sections use."""
        return self.output_parq_location

    def listed(self, field: str) -> FeatureKeys:
        """Return the names and globs that one of ``KEY_FIELDS`` lists; none where it names a function."""
        keys = getattr(self, field)
        return () if keys is None or isinstance(keys, FeatureFunction) else keys

    @model_validator(mode="after")
    def _every_key_once(self) -> Self:
        lists = {field: self.listed(field) for field in KEY_FIELDS}
        for field, keys in lists.items():
            twice = repeated(keys)
            if twice:
                raise ValueError(f"{field}: {', '.join(map(repr, twice))} is listed twice; list every key once")
        for one, other in combinations(KEY_FIELDS, 2):
            shared = sorted(set(lists[one]) & set(lists[other]))
            if shared:
                raise ValueError(
                    f"{one} and {other} both list {', '.join(map(repr, shared))}; a column is scaled one way"
                )
        return self
