"""Building a result by a function, as most tests want it."""

from dataclasses import dataclass

from assay.storage.results import ResultStore


@dataclass(frozen=True)
class Section:
    """Stands in for any stage's section: the store looks at nothing else."""

    output_location: str = "data"
    clear_folder: bool = False

    def content(self):
        return {}


def build(store: ResultStore, spec, inputs, fill, waiting=None):
    """Return the result of ``spec`` on ``inputs``; ``fill(folder)`` returns the report, and runs only when needed."""
    with store.build(spec, inputs, waiting) as build:
        if build.needed:
            build.report = fill(build.folder)
    return build.result
