"""Building a result by a function, as most tests want it."""

from assay.storage.results import ResultStore


def build(store: ResultStore, spec, inputs, fill, waiting=None):
    """Return the result of ``spec`` on ``inputs``; ``fill(folder)`` returns the report, and runs only when needed."""
    with store.build(spec, inputs, waiting) as build:
        if build.needed:
            build.report = fill(build.folder)
    return build.result
