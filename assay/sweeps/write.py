"""Writes the experiments of a sweep: all of them, or none."""

from contextlib import ExitStack

from assay.experiments.specs import SpecFiles
from assay.experiments.sweeps import Sweep


def write_sweep(store: SpecFiles, sweep: Sweep) -> list[str]:
    """Create the files of the new experiments; when one can't be written, those before it are removed again.

    Returns:
        The IDs of the new experiments.

    Raises:
        IdError: Somebody took one of the IDs meanwhile; nothing is written then.
    """
    written: list[str] = []
    with ExitStack() as undo:
        for member in sweep.new:
            written.append(store.create(member.content, member.experiment_id))
            undo.callback(store.path(member.experiment_id).unlink, missing_ok=True)
        undo.pop_all()
    return written
