"""Why automation starts a run: what changed since the last one, as short texts for the log of a tick and a run's tag.

Names of files and values of specs are other people's texts: each is shown with escapes in place of control characters,
shortened, and only the first few of many.

Belongs here: from two states to texts. Does not belong here: deciding what is out of date (``reconcile``,
``upstream``).
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from assay.datasets.fingerprints import FileChanges, changed_files
from assay.datasets.inspection import absolute_path
from assay.errors import DataError, SpecError, StorageError, one_line
from assay.experiments.contents import recorded_spec
from assay.pipeline import STAGES
from assay.spec.experiment import ExperimentSpec
from assay.spec.generated_images import GeneratedImagesSection, OwnData
from assay.spec.secrets import hide, without_removed_keys
from assay.spec.yaml_text import flatten
from assay.stages.generated_images import DIGEST_CACHE
from assay.storage.results import ResultStore

REASON_TAG = "assay/reason"
"""Tag of a run that says why it was started."""

LONGEST_TAG = 200
"""Characters of a run's tag."""

MOST_NAMED = 3
"""Number of files, and of reasons, that are named before the others are only counted."""

LONGEST_NAME = 60
"""Number of characters of a file's name that is shown, from its end."""


NOT_THERE = "not there yet: "


def as_tag(reasons: Sequence[str]) -> str:
    """Return reasons as a tag's value: one printable line without secrets, of at most ``LONGEST_TAG`` characters."""
    more = len(reasons) - MOST_NAMED
    text = one_line(hide("; ".join([*reasons[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])))
    return text if len(text) <= LONGEST_TAG else f"{text[: LONGEST_TAG - 1]}…"


def reasons_for(
    experiment_id: str, spec: ExperimentSpec, assets: Sequence[str], recorded: Mapping[str, str], root: Path, data: str
) -> tuple[str, ...]:
    """Return what changed since the experiment's last run: of its data, of the code, and one line per key of its spec.

    Args:
        experiment_id: The experiment.
        spec: Its current spec.
        assets: Its assets that are out of date.
        recorded: Recorded data versions by asset.
        root: Storage root.
        data: What changed among its data, see ``data_changes``; empty if nobody knows.

    Raises:
        StorageError: Nobody knows where its folder is.
    """
    try:
        former = recorded_spec(root, experiment_id)
    except SpecError:
        return ("the configuration in its folder can't be read",)
    if former is None or not recorded:
        return ("new experiment",)
    changes = changes_between(former, spec.as_dict())
    found = [
        *([data] if data and "generated_images" in assets else []),
        *_code_changes(spec, assets, recorded, root),
        *(f"spec: {change}" for change in changes),
    ]
    missing = [asset for asset in assets if asset not in recorded]
    if not found and missing:
        return (f"{NOT_THERE}{', '.join(missing)}",)
    if not found and "experiment" in assets:
        return ("spec: a value that is not shown",)
    return tuple(found) or (f"the data or the code behind {assets[0]} changed",)


def _code_changes(
    spec: ExperimentSpec, assets: Iterable[str], recorded: Mapping[str, str], root: Path
) -> Iterable[str]:
    """Yield the stages whose recorded result was made by another version of their code, such as ``crops 3 to 4``."""
    results = ResultStore(root)
    for stage in (name for name in assets if name in STAGES and name in recorded):
        if stage == "trained_model" and spec.found is not None:  # a model of another experiment
            continue
        with suppress(StorageError):  # a damaged result is reported by whoever reads it
            manifest, now = results.manifest(stage, recorded[stage]), STAGES[stage].code_version
            if manifest is not None and manifest["code_version"] != now:
                yield f"code: {stage} {manifest['code_version']} to {now}"


def data_changes(section: GeneratedImagesSection, root: Path) -> str:
    """Return which of the user's files differ from those last read, such as ``changed: diabetes.csv``.

    The result is empty if none does, if none was ever read, and for sources that are no files of the user's.

    Args:
        section: Section ``generated_images``.
        root: Storage root.
    """
    if not isinstance(section.source, OwnData):
        return ""
    try:
        return shown_changes(changed_files(section.source, root / DIGEST_CACHE))
    except (DataError, OSError):  # the stage reports the problem in its run, where the user looks for it
        path = absolute_path(section.source.path)
        return "" if os.path.lexists(path) else f"removed: {_shown_name(path.name)}"


def shown_changes(changes: FileChanges) -> str:
    """Return the names of changed files as one text: the first few of each kind, and how many there are more."""
    kinds = {"changed": changes.changed, "added": changes.added, "removed": changes.removed}
    return "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(map(_shown_name, names[:MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _shown_name(name: str) -> str:
    plain = one_line(name)
    return plain if len(plain) <= LONGEST_NAME else f"…{plain[-LONGEST_NAME:]}"


def upstream_reason(lacks: Iterable[str]) -> str:
    """Return the reason of a run that follows its inputs, such as ``upstream: normalized``.

    Args:
        lacks: Per stale asset, the versions of inputs that it was not made from, as from ``upstream.stale_assets``.
    """
    names = dict.fromkeys(part.partition(" ")[0] for lack in lacks for part in lack.split(", ") if part)
    return f"upstream: {', '.join(names)}"


LONGEST_VALUE = 60
"""Number of characters of a value that messages show."""

ABSENT = object()


class Change(NamedTuple):
    """A key whose value changed."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} → {_shown(self.new)}"


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the keys that differ, as dotted paths in the order of ``new``; a list counts as one value.

    Args:
        old: Plain values of a spec.
        new: The same, at a later time; what its lists remove from records, and what looks like a secret, is left out.
    """
    before, after = (flatten(without_removed_keys(values, new)) for values in (old, new))
    keys = [*after, *(key for key in before if key not in after)]
    pairs = [Change(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    return [change for change in pairs if change.old != change.new]


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
