"""What an experiment's assets should be: the data version that its spec asks for, by asset.

Belongs here: from a spec to data versions, and which of them differ from what was recorded. Does not belong here:
where records are kept, when to look.
"""

from collections.abc import Mapping

from assay.pipeline import STAGES, Slice, digest_of, needed_stages, slice_of, used_inputs
from assay.spec.experiment import ExperimentSpec

EXPERIMENT = "experiment"
TESTS = "spec/exptests"

Versions = Mapping[str, str]
"""Data version by asset: of ``experiment``, of ``spec/exptests`` and of the stages."""

WATCHED = (EXPERIMENT, TESTS, *STAGES)
"""The assets whose versions are compared; all others are made together with one of these."""

UNKNOWN_SOURCE = "unknown"
"""Stands for the content of data that have not been read yet: no result was made from it."""


def wanted_versions(spec: ExperimentSpec, experiment_id: str, source_digest: str) -> dict[str, str]:
    """Return the data version of every asset that the experiment needs, as its stages would compute it.

    Args:
        spec: The resolved spec.
        experiment_id: Whose it is.
        source_digest: Content hash of the user's own data, as ``assay.sources.content_digest`` gives it.
    """
    versions = {EXPERIMENT: digest_of(spec.as_dict()), TESTS: slice_of(spec, experiment_id, "exptests").digest}
    for stage in needed_stages(spec):
        part: Slice = slice_of(spec, experiment_id, stage)
        inputs = {name: versions[name] for name in used_inputs(spec, stage)}
        versions[stage] = part.fingerprint(inputs if stage != "generated_images" else {"source": source_digest})
    return versions


def outdated(wanted: Versions, recorded: Versions) -> tuple[str, ...]:
    """Return the assets whose recorded version is missing or another one, in the order of the chain."""
    return tuple(name for name in WATCHED if name in wanted and recorded.get(name) != wanted[name])
