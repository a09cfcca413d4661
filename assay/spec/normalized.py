"""Section ``normalized``: the columns that are scaled, what fills their gaps, and the rows that both are fitted on."""

from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from assay.spec.base import ADDED, MOST_STEPS, Location, Section, Switch, repeated
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

_FORMER = {"numbers": "range", "categories": "codes", "dates": "texts"}
"""What every result was made with before there were these keys."""

KEY_FIELDS = ("scalar_feature_keys", "binary_feature_keys", "categorical_feature_keys")


class MissingValues(Section):
    """What stands for the missing values of a table's features: fitted on train, stored, and applied to all rows.

    New data that the model predicts are filled in the same way. A missing target is always refused.
    """

    numbers: Literal["median", "mean", "constant", "refuse"] = "median"
    """What fills the gaps of numeric columns; ``refuse`` for an error where there are any."""
    constant: float | None = None
    """The number for ``numbers: constant``, in the unit of the columns."""
    categories: Literal["level", "most_frequent", "refuse"] = "level"
    """What fills the gaps of texts and other categories: ``level``: a category of their own, where train has gaps;
    ``most_frequent``: the most frequent category, as in columns of two values always; ``refuse``: an error."""
    indicators: bool = True
    """Add a column such as ``age_missing``, 1 where a value is missing and else 0, for each column that is filled and
    that has gaps in train."""
    drop_rows: bool = False
    """Leave rows of train out that lack any value, and fit the filling on the others; the other subsets, and new data,
    are filled as they are otherwise, so that every row is predicted."""

    @property
    def sentence(self) -> str:
        """What happens to gaps, as a clause for messages."""
        number = f"{self.constant:g}" if self.numbers == "constant" else f"the {self.numbers} of train"
        category = "become a category" if self.categories == "level" else "the most frequent one of train"
        marked = ", each marked by a column NAME_missing" if self.indicators else ""
        rows = "; rows of train that lack any are left out" if self.drop_rows else ""
        return f"numbers become {number}{marked}, and missing categories {category}{rows} (normalized.missing)"

    @model_validator(mode="after")
    def _constant_where_it_is_used(self) -> Self:
        if self.numbers == "constant" and self.constant is None:
            raise ValueError("numbers is 'constant', but constant is not set; give the number, such as constant: 0")
        if self.numbers != "constant" and self.constant is not None:
            raise ValueError(
                f"constant is {self.constant:g}, but numbers is {self.numbers!r}; leave one of them out, or set "
                "numbers: constant"
            )
        return self


class NormalizedSection(Section):
    """Scales columns; the scaling is fitted on train, stored, and applied to the other subsets."""

    scalar_feature_keys: AnyFeatureKeys | None = None
    """Numeric columns, scaled as ``numbers`` says, as names or globs, or the name of a function that an installed
    package registers. Null: ``px_*`` of images, or every numeric column of a table except the target; an empty list:
    none."""
    binary_feature_keys: AnyFeatureKeys | None = None
    """Columns with two values, which become 0 and 1, as names, globs or the name of a function. Null: every boolean
    column of a table except the target."""
    categorical_feature_keys: AnyFeatureKeys | None = None
    """Columns with categories, which are encoded as ``categories`` says, as names, globs or the name of a function.
    Null: every text column of a table except the target."""
    numbers: Annotated[Literal["range", "standard", "ranks", "auto"] | None, ADDED] = None
    """How numeric columns are scaled: ``range``: the fitted rows range from 0 to 1; ``standard``: their mean is 0 and
    their standard deviation 1, and values far outside of theirs are clipped; ``ranks``: by their rank among the fitted
    rows, to a normal distribution, which neither outliers nor skewed columns disturb; ``auto``: ranks for columns with
    outliers or much skew, standard for the others. Null: auto for a table, range for pixels."""
    categories: Annotated[Literal["codes", "levels"] | None, ADDED] = None
    """How categories are encoded: ``codes``: by their index in sorted order, which the model reads as a number;
    ``levels``: each is an input of its own, those that are rare or that train lacks share one. Null: levels for a
    table, codes else."""
    rare_below: Annotated[int, Field(ge=1, le=MOST_STEPS), ADDED] = 3
    """With ``categories: levels``: categories of fewer fitted rows share one level, as do those beyond the 250 most
    frequent."""
    fit_on: Literal["train", "all"] = "train"
    """Rows that the scaling is fitted on. ``all`` leaks test data into it; use it only to compare with old results."""
    unseen_categories: Literal["error", "code"] | None = None
    """Categories that the fitted rows lack: ``error``, or ``code`` for one additional index for all of them. Null: code
    with ``categories: levels``, else error. With error, rare categories are levels of their own."""
    dates: Annotated[Literal["parts", "texts"] | None, ADDED] = None
    """Columns of dates and times, also those of texts of which nearly all are ISO dates such as 2024-01-31: ``parts``:
    year, month, day of the week, day of the year and hour become columns of numbers, as far as they differ in the
    fitted rows; ``texts``: texts are categories, other dates are refused. Columns listed as binary or categorical are
    categories. Null: parts for a table, texts with ``categories: codes``."""
    missing: Annotated[MissingValues, ADDED] = MissingValues()
    """What stands for missing values; of columns of a table, as images have none."""
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

    @property
    def codes_unseen(self) -> bool:
        """Whether categories that the fitted rows lack are no error."""
        return self.unseen_categories == "code" or (self.unseen_categories is None and self.categories == "levels")

    def with_defaults_for(self, is_table: bool) -> Self:
        """Return the section with a value for each null that depends on the source."""
        values = {"numbers": self.numbers, "categories": self.categories, "dates": self.dates}
        usual = {"numbers": "auto", "categories": "levels"} if is_table else {}
        usual |= {"dates": "texts" if self.categories == "codes" else "parts"} if is_table else {}
        changes: dict[str, Any] = {key: values[key] or usual.get(key) for key in values}
        filled = self.model_copy(update=changes)
        return filled.model_copy(update={"unseen_categories": "code" if filled.codes_unseen else "error"})

    def _is_left_out(self, name: str, field: FieldInfo) -> bool:
        """Also leave out what results were made with before they said so."""
        return super()._is_left_out(name, field) or getattr(self, name) == _FORMER.get(name, field)

    def listed(self, field: str) -> FeatureKeys:
        """Return the names and globs that one of ``KEY_FIELDS`` lists; none where it names a function."""
        keys = getattr(self, field)
        return () if keys is None or isinstance(keys, FeatureFunction) else keys

    @model_validator(mode="after")
    def _rare_levels_are_levels(self) -> Self:
        if self.categories == "codes" and self.rare_below != type(self).model_fields["rare_below"].default:
            raise ValueError(f"rare_below ({self.rare_below}) has no effect with categories: codes; leave it out")
        return self

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
