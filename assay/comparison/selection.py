"""Which experiments are compared: named ones, those of a sweep, those for which a condition holds.

Belongs here: choosing IDs. Does not belong here: reading results.
"""

from collections.abc import Sequence
from pathlib import Path

from assay.backfills.selection import select_experiments
from assay.errors import SpecError, unknown
from assay.experiments.specs import SpecFiles
from assay.ids import suggest_id, validate_id
from assay.sweeps.members import sweep_members, sweep_names

LONGEST_NAME = 60


def chosen_ids(root: Path, store: SpecFiles, ids: Sequence[str], sweep: str | None, where: str | None) -> list[str]:
    """Return the experiments named by ``ids`` or ``sweep`` (all, if neither is given) for which ``where`` holds.

    Raises:
        IdError: One of the IDs is not valid.
        SpecError: There is no such experiment or sweep.
        DataError: The condition is wrong, or holds for no experiment.
    """
    known = store.ids()
    chosen = dict.fromkeys(validate_id(name) for name in ids)
    for name in chosen:
        if name not in known:
            raise SpecError(str(store.folder), [unknown("Experiment", name, known)])
    if sweep is not None:
        chosen |= dict.fromkeys(_members(store, sweep))
    if not ids and sweep is None:
        chosen = dict.fromkeys(known)
    if where is None:
        return list(chosen)
    holding = select_experiments(store, root, where).specs
    return [name for name in chosen if name in holding]


def _members(store: SpecFiles, sweep: str) -> list[str]:
    members = list(sweep_members(store, sweep))
    if not members:
        raise SpecError(str(store.folder), [unknown("Sweep", sweep, sweep_names(store))])
    return members


def selection_name(ids: Sequence[str], sweep: str | None, where: str | None) -> str:
    """Return what the comparison is called, fit for the name of a file."""
    parts = [*([sweep] if sweep else []), *ids]
    name = suggest_id("-".join(parts)) if parts else "all-experiments"
    if len("-".join(parts)) > LONGEST_NAME:
        name = f"{suggest_id(parts[0])[:40]}-and-{len(parts) - 1}-more"
    return f"{name}-selection" if where else name
