"""The sections of an experiment's report: each says what is known, or why it is not, and what to do.

Belongs here: a function per section, and how they show values. Does not belong here: the page around them, writing it
(``assay.dashboard.report``), reading the experiment's folder (``assay.dashboard.details``).
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.analysis.base import STANDARD_SUBSETS
from assay.checks.result import TestResult
from assay.comparison.load import Score, leading_score
from assay.comparison.terminal import interval
from assay.dashboard.details import FolderRecords, Plot, baseline_verdict, net_data_of
from assay.dashboard.report_values import (
    MOST_ROWS,
    as_list,
    as_mapping,
    count_with_share,
    fact_list,
    folded,
    grid,
    heading_of,
    is_span,
    note,
    shown_text,
    span_text,
)
from assay.errors import FileError
from assay.experiments.costs import costs_in, total_cost
from assay.metrics.registry import label_of
from assay.spec.models import BUILT_IN_MODELS
from assay.spec.yaml_text import flatten, to_yaml
from assay.utils.html import Content, Element, element, whisker
from assay.utils.reading import MOST_BYTES, read_bytes
from assay.utils.text import pluralize, readable_number, readable_size

MOST_PICTURE_BYTES = 3_500_000
"""Size of all pictures together; as text they are a third larger, and a page has at most 5 MB."""

TOO_FEW = "too few items"
"""In place of an interval."""

PNG = b"\x89PNG\r\n\x1a\n"

SUBSET = {"subset": pl.String()}
"""What is needed of a table of items."""

MOST_SPEC_CHARACTERS = 200_000

LEADING_PACKAGES = ("torch", "numpy", "polars", "scikit-learn", "pillow", "dagster")


@dataclass
class Sources:
    """What the sections read, and how many bytes of pictures the page can still take."""

    root: Path
    records: FolderRecords
    tests: Sequence[TestResult]
    plots: Mapping[str, Sequence[Plot]]
    scores: pl.DataFrame | None
    left_bytes: int = MOST_PICTURE_BYTES

    def report(self, stage: str) -> Mapping[str, Any]:
        """Return what a stage reported; empty if it was not made."""
        return self.records.reports.get(stage, {})

    @property
    def subset(self) -> str:
        """The subset that the page is about first: test, or else the last."""
        found = [] if self.scores is None else self.scores["subset"].unique(maintain_order=True).to_list()
        return "test" if "test" in found or not found else str(found[-1])

    def interval_text(self, row: Mapping[str, Any]) -> str:
        """Return the interval of a metric; where there is none although one was asked for, why."""
        score = row_score(row)
        wanted = flatten(self.records.spec).get("analysis.result_analyzer.bootstrap_samples", 0)
        return interval(score) or (TOO_FEW if wanted and score.value is not None else "")

    def figures(self, *plots: Plot) -> list[Content]:
        """Return pictures as elements; those that are too large are named instead."""
        return [part for plot in plots for part in self._figure(plot)]

    def _figure(self, plot: Plot) -> Iterator[Content]:
        try:
            content = read_bytes(plot.path, MOST_BYTES)
        except (FileNotFoundError, FileError):  # a run is replacing it
            return
        if not content.startswith(PNG):
            return
        if len(content) > self.left_bytes:
            where = f"{plot.title}: {readable_size(len(content))}, too large for this page: {plot.path}"
            yield element("p", shown_text(where), class_="faint")
            return
        self.left_bytes -= len(content)
        address = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        title = shown_text(plot.title)
        yield element("figure", element("img", src=address, alt=title), element("figcaption", title))

    def named(self, group: str, *names: str) -> list[Plot]:
        """Return the plots of a group whose files have these names."""
        return [plot for plot in self.plots.get(group, ()) if plot.path.stem in names]


def model_kind(sources: Sources) -> str:
    """Return the kind of model that was trained, or else the one that the spec names; empty if it names none."""
    named = flatten(sources.records.spec).get("trained_model.model.kind")
    return str(sources.report("trained_model").get("model") or named or "")


def _what(sources: Sources) -> list[Content]:
    spec, card = sources.records.spec, sources.report("trained_model")
    keys, target = flatten(spec), as_mapping(card.get("target"))
    evaluated = keys.get("existing_experiment.found.experiment_id")
    return [
        fact_list(
            {
                "Task": sources.records.task.replace("_", " "),
                "Predicts": target.get("column") or target.get("kind"),
                "Classes": target.get("classes"),
                "Evaluates the model of": evaluated,
                "Model": model_kind(sources),
                "Chosen from": card.get("candidates") and list(as_mapping(card["candidates"])),
                "Parameters": card.get("parameters"),
                "Trained on": card.get("inputs"),
                "Input shape": card.get("input_shape"),
                "Data": keys.get("generated_images.source.kind"),
                "Path of the data": keys.get("generated_images.source.path"),
                "Seed": spec.get("seed"),
            }
        ),
        folded("The whole spec", element("pre", shown_text(to_yaml(dict(spec)), MOST_SPEC_CHARACTERS))),
    ]


def _data(sources: Sources) -> list[Content]:
    splits, images = sources.report("splits"), sources.report("generated_images")
    trained, predicted = (as_mapping(sources.report(stage).get("data")) for stage in ("trained_model", "predictions"))
    seen = {name: as_mapping(each) for name, each in {**trained, **predicted}.items()}
    items = as_mapping(splits.get("items_per_subset")) or {name: each.get("items") for name, each in seen.items()}
    if not items:
        return [_missing(sources, "splits")]
    shares = as_mapping(splits.get("share_per_subset"))
    columns = sorted({key for each in seen.values() for key, value in each.items() if is_span(value)})
    objects = {name: each.get("items") for name, each in seen.items()}
    counted = ["Objects"] if any(count not in (None, items.get(name)) for name, count in objects.items()) else []
    rows = []
    for name in _in_order(items):
        others = [objects.get(name) for _ in counted]
        ranges = [span_text(seen.get(name, {}).get(column)) for column in columns]
        rows.append([name, count_with_share(items[name], shares.get(name)), *others, *ranges])
    content: list[Content] = [grid(["Subset", "Items", *counted, *map(heading_of, columns)], rows)]
    content += [note(str(warning)) for warning in as_list(splits.get("warnings"))]
    content += _class_counts(splits, seen)
    if images:
        content.append(folded("What was read", fact_list({heading_of(name): each for name, each in images.items()})))
    return [*content, *sources.figures(*sources.plots.get("Data", ()))]


def _class_counts(splits: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]]) -> list[Content]:
    """Return how many items, objects or pixels each subset has of each class."""
    counts = {name: as_mapping(each.get("classes")) for name, each in seen.items()}
    title = next((str(each["counted"]) for each in seen.values() if each.get("counted")), "")
    if not any(counts.values()):
        counts, title = (
            {name: as_mapping(each) for name, each in as_mapping(splits.get("labels_per_subset")).items()},
            "labels",
        )
    classes = list(dict.fromkeys(name for each in counts.values() for name in each))
    subsets = _in_order(counts)
    rows = [[name, *(counts[subset].get(name, 0) for subset in subsets)] for name in classes]
    heading = element("h3", shown_text(heading_of(title) or "Classes"))
    return [heading, grid(["Class", *subsets], rows)] if rows else []


def _leakage(sources: Sources) -> list[Content]:
    found = [test for test in sources.tests if test.kind == "split_leakage"]
    if found:
        return [_tests_table(found)]
    return [_untested(sources, "split_leakage", "whether an item, or a copy of one, is in two subsets")]


def _untested(sources: Sources, kind: str, what: str) -> Element:
    """Return why a test has no outcome: it is not asked for, or has not run yet."""
    wanted = as_list(as_mapping(sources.records.spec.get("exptests")).get("tests"))
    kinds = [as_mapping(test).get("kind") for test in wanted]
    if kind and kind not in kinds:
        return note(f"The spec does not ask {what}. Next: add '- kind: {kind}' to exptests.tests.")
    if not kinds:
        return note("The spec asks for no tests (exptests.tests).")
    return note(f"Nobody has tested yet {what}. Next: assay run {sources.records.experiment_id}")


def _training(sources: Sources) -> list[Content]:
    card = sources.report("trained_model")
    if not card:
        return [_missing(sources, "trained_model")]
    section = flatten(as_mapping(sources.records.spec.get("trained_model")))
    kind = BUILT_IN_MODELS.get(model_kind(sources))
    steps: dict[str, Any] = {} if kind and kind.section.is_fitted else _of_steps(section)
    name, turn = ("Epochs", "epoch") if steps else ("Fits", "fit")
    facts = {
        name: f"{card.get('epochs')}, of which {turn} {card.get('epoch')} is used ({card.get('chosen_by')})",
        "Choice": card.get("choice"),
        "Stopped": card.get("stopped"),
        **{label: card[name] for name, label in _measured(card).items()},
        "Loss": section.get("learner.loss"),
        **steps,
        "Device": section.get("train_params.device"),
    }
    seen = net_data_of(sources.root, sources.records.experiment_id)
    shown = sorted({*list(seen)[:1], *list(seen)[-1:]})
    inputs = [Plot(f"First training samples of epoch {epoch}, as the network got them", seen[epoch]) for epoch in shown]
    return [fact_list(facts), *sources.figures(*sources.plots.get("Training", ()), *inputs)]


def _of_steps(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that only a training in steps reads, under the names that the page gives them."""
    return {
        "Optimizer": section.get("learner.optimizer"),
        "Learning rate": section.get("learner.learning_rate"),
        "Batch size": section.get("data_train.batch_size"),
        "Precision": section.get("train_params.precision"),
    }


def _measured(card: Mapping[str, Any]) -> dict[str, str]:
    """Return what was measured on the validation data in the epoch that is used: its key in the report, and a name."""
    names = [name for name in card if name.startswith("validation_")]
    return {name: heading_of(f"{label_of(name.removeprefix('validation_'))} on validation") for name in names}


def _metrics(sources: Sources) -> list[Content]:
    if sources.scores is None:
        return [_missing(sources, "analysis")]
    content: list[Content] = []
    subsets = sources.scores["subset"].unique(maintain_order=True).to_list()
    for subset in sorted(subsets, key=lambda name: name != sources.subset):
        rows = [_metric_cells(row, sources.interval_text(row)) for row in rows_over_all_classes(sources, subset)]
        heads = ["Metric", "Value", "Interval", "", "Baseline", "Simple model", "Better than the baseline", "Items"]
        content += [element("h3", shown_text(f"On {subset}")), grid(heads, rows, "prose")]
    return [*content, *_by_class(sources), *sources.figures(*sources.named("Analysis", "metrics", "classes"))]


def _metric_cells(row: Mapping[str, Any], shown_interval: str) -> list[Any]:
    score = row_score(row)
    ends = [each for each in (score.value, score.low, score.high, score.baseline) if each is not None] or [0.0]
    plot = whisker(score.value, (score.low, score.high), score.baseline, (min(ends), max(ends)))
    value = element("b", shown_text(f"{readable_number(score.value)} {score.unit}".strip()))
    baseline = f"{readable_number(score.baseline)} ({score.baseline_name})" if score.baseline is not None else "–"
    verdict = (baseline_verdict(row["metric"], score) or "–").partition(":")[0]
    return [
        label_of(row["metric"]),
        value,
        shown_interval or "–",
        plot,
        baseline,
        _simple(row) or "–",
        verdict,
        score.count,
    ]


def _by_class(sources: Sources) -> list[Content]:
    """Return the metrics of each class on the leading subset."""
    if sources.scores is None:
        return []
    rows = sources.scores.filter((pl.col("class") != "") & (pl.col("subset") == sources.subset))
    metrics = rows["metric"].unique(maintain_order=True).to_list()
    by_class: dict[str, dict[str, Any]] = {}
    for row in rows.iter_rows(named=True):
        ends = interval(row_score(row))
        shown = f"{readable_number(row['value'])} {ends}".strip()
        by_class.setdefault(row["class"], {"items": row["count"]})[row["metric"]] = shown
    cells = [[name, each["items"], *(each.get(metric, "–") for metric in metrics)] for name, each in by_class.items()]
    heads = ["Class", "Count", *map(label_of, metrics)]
    return [element("h3", shown_text(f"By class, on {sources.subset}")), grid(heads, cells)] if cells else []


def _pictures(sources: Sources) -> list[Content]:
    elsewhere = ("metrics", "classes", "worst_items", "suspicious_labels")
    analysed = [plot for plot in sources.plots.get("Analysis", ()) if plot.path.stem not in elsewhere]
    found = sources.figures(*analysed, *sources.plots.get("Predictions", ()))
    return found or [_missing(sources, "analysis")]


def _tests(sources: Sources) -> list[Content]:
    if not sources.tests:
        return [_untested(sources, "", "what the spec asks")]
    failed = [test for test in sources.tests if not test.passed]
    count = pluralize(len(sources.tests), "test")
    verdict = f"{len(failed)} of {count} failed." if failed else f"All of {count} passed."
    return [element("p", element("b", verdict)), _tests_table(sorted(sources.tests, key=lambda test: test.passed))]


def _tests_table(tests: Iterable[TestResult]) -> Element:
    rows = [[_outcome(test), test.name, test.description, test.expected] for test in tests]
    return grid(["Outcome", "Test", "Found", "Expected"], rows, "prose")


def _outcome(test: TestResult) -> Element:
    if test.passed:
        return element("span", "✓ passed", class_="good")
    return element("span", "✗ failed" if test.severity == "error" else "! warning", class_="bad")


def _worst(sources: Sources) -> list[Content]:
    return _items(sources, "worst_items", f"There is no mistake on {sources.subset}.")


def _suspicious(sources: Sources) -> list[Content]:
    if sources.records.task != "classification":
        return [element("p", "Wrong labels are looked for where each item has one class.", class_="faint")]
    is_analysed = "analysis" in sources.records.fingerprints
    if is_analysed and sources.records.table("analysis", "suspicious_labels", SUBSET) is None:
        again = f"assay run {sources.records.experiment_id}"
        return [note(f"The analysis is of a version of Assay that did not look for wrong labels. Next: {again}")]
    content = _items(sources, "suspicious_labels", f"No label of {sources.subset} is suspicious.")
    advice = "Where a label is wrong, mend it in your data: what depends on it is made anew by the next run."
    return [element("p", advice), *content] if len(content) > 1 else content


def _items(sources: Sources, name: str, nothing: str) -> list[Content]:
    """Return a table of items of the leading subset, and their picture."""
    table = sources.records.table("analysis", name, SUBSET)
    if table is None:
        return [_missing(sources, "analysis")]
    rows = table.filter(pl.col("subset") == sources.subset).drop("subset")
    if rows.is_empty():
        return [element("p", nothing)]
    columns = [column for column in rows.columns if rows[column].null_count() < len(rows)]
    shown = grid([*map(heading_of, columns)], rows.select(columns).head(MOST_ROWS).rows(), total=len(rows))
    return [shown, *sources.figures(*sources.named("Analysis", name))]


def _lineage(sources: Sources) -> list[Content]:
    rows = []
    for stage, fingerprint in sources.records.fingerprints.items():
        manifest = sources.records.manifest(sources.root, stage)
        inputs = [
            name if value == sources.records.fingerprints.get(name) else f"{name} {value}".strip()
            for name, value in as_mapping(manifest.get("inputs")).items()
        ]
        rows.append([stage, element("code", fingerprint), manifest.get("code_version"), ", ".join(inputs) or "–"])
    if not rows:
        return [_missing(sources, "generated_images")]
    explanation = "Equal fingerprints stand for equal results: each is a hash of all that determines one."
    return [
        element("p", explanation, class_="faint"),
        grid(["Stage", "Fingerprint", "Code version", "Made from"], rows),
    ]


def _cost(sources: Sources) -> list[Content]:
    costs = costs_in(sources.root, sources.records.folder, sources.records.experiment_id)
    if all(each.cost is None for each in costs):
        return [element("p", "What its results cost was not recorded.", class_="faint")]
    total = f"All of it: {total_cost(costs)}."
    return [element("p", shown_text(total)), grid(["Stage", "Cost"], [[each.stage, str(each)] for each in costs])]


def _versions(sources: Sources) -> list[Content]:
    git, machine = sources.records.versions, sources.records.environment
    packages = {str(name): value for name, value in as_mapping(machine.get("packages")).items()}
    lowered = {name.lower(): name for name in packages}
    leading = {lowered[name]: packages[lowered[name]] for name in LEADING_PACKAGES if name in lowered}
    if not git and not machine:
        return [
            element("p", "Its spec asked for no record of versions (trained_model.exp_initializer).", class_="faint")
        ]
    memory = machine.get("memory_bytes")
    facts = {
        **{f"{name} (code)": _code_version(as_mapping(each)) for name, each in git.items()},
        "Python": machine.get("python"),
        **leading,
        "Machine": machine.get("platform"),
        "Cores": machine.get("cpu_count"),
        "Memory": readable_size(memory) if isinstance(memory, int) else None,
        "Folder": sources.records.folder.name,
    }
    return [fact_list(facts), *([folded(f"All packages ({len(packages)})", fact_list(packages))] if packages else [])]


def _code_version(git: Mapping[str, Any]) -> str:
    """Return a version and a commit, as far as they were recorded."""
    commit, changed = str(git.get("commit") or "")[:12], " with changes" if git.get("dirty") else ""
    return ", ".join(filter(None, [str(git.get("version") or ""), f"commit {commit}{changed}" if commit else ""]))


def rows_over_all_classes(sources: Sources, subset: str) -> list[dict[str, Any]]:
    """Return the metrics of a subset over all classes, in the order of the spec."""
    if sources.scores is None:
        return []
    return sources.scores.filter((pl.col("class") == "") & (pl.col("subset") == subset)).rows(named=True)


def row_score(row: Mapping[str, Any]) -> Score:
    """Return the score in a row of the table ``analysis``, which in older versions had fewer columns."""
    return leading_score({"baseline": None, "baseline_name": "", "unit": "", **row})


def _simple(row: Mapping[str, Any]) -> str:
    """Return what a simple model reaches; empty without one."""
    return f"{readable_number(row['simple_value'])} ({row['simple_model']})" if row.get("simple_model") else ""


def _missing(sources: Sources, stage: str) -> Element:
    if stage in sources.records.fingerprints:
        return note(f"What {stage} reported is not here, or is of another version.")
    return note(f"Not made yet: {stage}. Next: assay run {sources.records.experiment_id}")


def _in_order(subsets: Iterable[str]) -> list[str]:
    names = list(subsets)
    return [name for name in STANDARD_SUBSETS if name in names] + [
        name for name in names if name not in STANDARD_SUBSETS
    ]


Section = Callable[[Sources], list[Content]]

SECTIONS: tuple[tuple[str, Section], ...] = (
    ("What it is", _what),
    ("Data and splits", _data),
    ("Leakage", _leakage),
    ("Training", _training),
    ("Metrics", _metrics),
    ("Pictures", _pictures),
    ("Tests", _tests),
    ("Worst items", _worst),
    ("Suspicious labels", _suspicious),
    ("Lineage", _lineage),
    ("Cost", _cost),
    ("Versions", _versions),
)
"""Title and content of each section, in order; a section that has nothing to show says why, and what to do."""
