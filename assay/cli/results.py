"""Commands that read results: ``show``, ``report``, ``sql``, ``compare``, ``diff``, ``impact`` and others."""

import shutil
import sys
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.errors import AssayError, DataError, StorageError, unknown
from assay.experiments.boards import Boards, experiment_meant
from assay.experiments.folders import ExperimentFolder
from assay.experiments.last_run import LastRun, last_run
from assay.experiments.specs import removal_notice
from assay.experiments.workspace import dagster_home, folders, spec_files, storage_root
from assay.pipeline import STAGES, needed_stages
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import is_id, validate_id
from assay.storage.costs import NOT_RECORDED
from assay.storage.results import Result
from assay.utils.text import pluralize

ExperimentName = Annotated[str, typer.Argument(help="ID of the experiment; or champion, champion:BOARD")]


def named_experiment(name: str) -> str:
    """Return the ID of the experiment that is called so: by its own ID, or as the champion of a board.

    Raises:
        StorageError: There is no such champion, or its experiment was trained anew since, or removed.
    """
    if is_id(name) and folders().find(name) is not None:
        return name  # from before there were boards
    return experiment_meant(storage_root(), name, spec_files())


def show(experiment_id: ExperimentName) -> None:
    """Show what an experiment is, which results it has and what they cost, and its metrics."""
    experiment_id = named_experiment(experiment_id)
    spec = _described(experiment_id)
    folder = folders().find(experiment_id)
    run = last_run(dagster_home(), experiment_id)
    if folder is None:
        typer.echo(_of_run(run, experiment_id) if run else f"No results yet. Next: assay run {experiment_id}")
        return
    from assay.experiments.contents import stage_results  # Polars: only here
    from assay.experiments.costs import stage_costs, total_cost

    typer.echo(f"folder: {folder.path}")
    for line in Boards(storage_root()).held_by(experiment_id):
        typer.echo(line)
    found = stage_results(storage_root(), experiment_id)
    costs = {each.stage: each for each in stage_costs(storage_root(), experiment_id)}
    unused = set(STAGES) - set(needed_stages(spec) if spec else STAGES)
    for stage in STAGES:
        absent = "failed" if run and stage == run.stage else "not needed" if stage in unused else "-"
        made = found[stage].fingerprint if stage in found else absent
        cost = f"  {costs[stage]}" if stage in costs and (stage in found or costs[stage].cost) else ""
        typer.echo(f"  {stage:17}{made}{cost}")
    if costs:
        typer.echo(f"cost: {total_cost(costs.values())}")
    _tell_choice(found)
    for each in costs.values():
        if each.note not in ("", NOT_RECORDED):
            typer.echo(f"note: {each.stage}: {each.note}")
    if stopped := "trained_model" in found and found["trained_model"].report.get("stopped"):
        typer.echo(f"note: trained_model: {stopped}")
    if run and run.status != "done":
        typer.echo(_of_run(run, experiment_id))
    elif "analysis" in found:
        typer.echo(found["analysis"].report["summary"])
        typer.echo(found["analysis"].report["next"])
    typer.echo(_of_outdated(spec, experiment_id, found), nl=False)


def _of_outdated(spec: ExperimentSpec | None, experiment_id: str, found: Mapping[str, Result]) -> str:
    """Return the line that a run would make results anew; empty where it would find them."""
    former = outdated_stages(spec, experiment_id, found) if spec else []
    if not former:
        return ""
    return f"Its spec, its data or Assay changed since: assay run {experiment_id} makes anew {', '.join(former)}.\n"


def outdated_stages(spec: ExperimentSpec, experiment_id: str, found: Mapping[str, Result]) -> list[str]:
    """Return the stages whose results a run would not find, as far as that is known without reading the data."""
    from assay.automation.reconcile import expected_versions
    from assay.automation.state import known_digest

    images = found.get("generated_images")
    digest = known_digest(spec.generated_images, storage_root(), images.fingerprint if images else "")
    expected = {} if digest is None else expected_versions(spec, experiment_id, digest)
    return [name for name, result in found.items() if expected.get(name, result.fingerprint) != result.fingerprint]


def _tell_choice(found: Mapping[str, Any]) -> None:
    """Print which kind of model the data chose, where they did, from the results by stage."""
    if "trained_model" in found and (choice := found["trained_model"].report.get("choice")):
        typer.echo(choice)


def _described(experiment_id: str) -> ExperimentSpec | None:
    """Print what an experiment is; return its spec, or None if its file is broken or was removed, with the reason.

    Raises:
        AssayError: There never was such an experiment.
    """
    try:
        spec = spec_files().load(experiment_id)
    except AssayError as error:
        if not is_id(experiment_id) or folders().find(experiment_id) is None:
            raise
        is_there = spec_files().exists(experiment_id)
        typer.echo(f"{experiment_id}: {error if is_there else removal_notice(experiment_id)}")
        typer.echo("Its results so far:")
        return None
    typer.echo(f"{experiment_id}: {spec.task}, {spec.name or 'no name'}, seed {spec.seed}")
    if spec.found is not None:
        typer.echo(f"evaluates the model of {spec.found.experiment_id} ({spec.found.folder})")
    if spec.tags:
        typer.echo(f"tags: {', '.join(f'{name} {value}' for name, value in spec.tags.items())}")
    return spec


def _of_run(run: LastRun, experiment_id: str) -> str:
    """Return what to tell of an experiment's last run, and what to do next."""
    at = run.at.strftime("%Y-%m-%d %H:%M:%S UTC")
    if run.status == "running":
        return f"A run is at work on it since {at}. Its progress: make dev, page /runs/{run.run_id}"
    if run.status == "waiting":
        return f"A run of it waits since {at} for a Dagster daemon, such as that of: make dev"
    if run.status == "killed":
        return (
            f"Its last run, begun {at}, was killed. What was finished stays. Next, to go on: assay run {experiment_id}"
        )
    if run.status == "cancelled":
        return f"Its last run was cancelled ({at}). Next, to go on: assay run {experiment_id}"
    if run.status == "done":
        return f"No results yet. Next: assay run {experiment_id}"
    where = f" in {run.stage}" if run.stage else ""
    why = run.failure or f"it did not say why; its log in the browser: make dev, page /runs/{run.run_id}"
    after = "correct its file or its data; a running 'make dev' runs it again then"
    return f"Its last run failed{where} ({at}): {why}\nNext: {after}. By hand: assay run {experiment_id}"


def path(
    experiment_id: ExperimentName,
    stage: Annotated[
        str | None, typer.Argument(help="a stage such as crops; the experiment's folder if left out")
    ] = None,
) -> None:
    """Print the folder of an experiment, or of one of its stages' results."""
    experiment_id = named_experiment(experiment_id)
    folder = existing_folder(experiment_id)
    if stage is None:
        typer.echo(folder.path)
        return
    from assay.experiments.contents import stage_results  # Polars: only here

    found = stage_results(storage_root(), experiment_id)
    if stage not in found:
        raise StorageError(f"Experiment {experiment_id!r}: {unknown('Result', stage, found)}")
    typer.echo(found[stage].folder)


def existing_folder(experiment_id: str) -> ExperimentFolder:
    """Return an experiment's folder.

    Raises:
        IdError: The ID is not valid.
        StorageError: It has none; the message says whether there is such an experiment, and which are similar.
    """
    folder = folders().find(validate_id(experiment_id))
    if folder is None:
        known = spec_files().ids()
        hint = (
            f"Next: assay run {experiment_id}"
            if experiment_id in known
            else unknown("Experiment", experiment_id, known)
        )
        raise StorageError(f"Experiment {experiment_id!r} has no folder. {hint}")
    return folder


def report_experiment(
    experiment_id: ExperimentName,
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file; report.html in the experiment's folder when left out")
    ] = None,
) -> None:
    """Write one self-contained page about an experiment: data, training, metrics, pictures, tests, origin.

    The page needs no network and no other file, so it can be sent to others. Of an unfinished experiment it shows what
    there is.
    """
    experiment_id = named_experiment(experiment_id)
    existing_folder(experiment_id)
    from assay.dashboard.report import write_report  # Polars: only here

    typer.echo(write_report(storage_root(), experiment_id, out))


def sql(
    query: Annotated[str, typer.Argument(help="such as: select experiment_id, metric, value from analysis")] = "",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="make warehouse.duckdb anew from the files first")] = False,
    files: Annotated[bool, typer.Option("--files", help="let the query also read your other files")] = False,
) -> None:
    """Query the tables of all experiments; without a query, list the tables.

    A query is one statement that reads: it changes nothing, and opens no files but the stored tables (--files: also
    yours).
    """
    import polars as pl

    from assay.storage import warehouse  # DuckDB and Polars: only here

    if rebuild:
        warehouse.rebuild_warehouse(storage_root())
    tables = "select table_schema, table_name from information_schema.tables where table_schema <> 'assay-index'"
    statement = query or f"{tables} order by all"
    answer = warehouse.query(storage_root(), statement, files)
    with pl.Config(
        tbl_rows=MOST_ROWS,
        tbl_cols=-1,
        fmt_str_lengths=200,
        tbl_width_chars=shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED,
    ):
        typer.echo(answer)
    if len(answer) > MOST_ROWS:
        typer.echo(f"{MOST_ROWS:,} of {len(answer):,} rows are shown; choose with where, order by and limit.", err=True)


MOST_ROWS = 1000
"""Rows that ``sql`` prints, half of them from the end."""


UNLIMITED = 10_000
"""Line width for output that does not go to a terminal."""


def compare(
    ids: Annotated[list[str] | None, typer.Argument(help="IDs, or champion; all when nothing is chosen")] = None,
    sweep: Annotated[str | None, typer.Option(help="the experiments of this sweep")] = None,
    where: Annotated[
        str | None, typer.Option(help="only those for which an SQL condition holds, such as: seed < 10")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="what orders them; the task's main metric when left out")] = None,
    subset: Annotated[str, typer.Option(help="the subset whose metrics are compared")] = "test",
    html: Annotated[Path | None, typer.Option(help="file of the page; below the storage when left out")] = None,
    costs: Annotated[bool, typer.Option("--costs", help="also show what their results cost")] = False,
) -> None:
    """Show experiments best first, with what differs between them, and write a page with their curves."""
    from assay.comparison.html import write_comparison
    from assay.comparison.load import collect  # Polars, DuckDB and matplotlib: only here
    from assay.comparison.ranking import chosen_ids, rank, selection_name
    from assay.comparison.repeats import repeats_in, without_repeats
    from assay.comparison.terminal import as_text, price, repeats_text

    root, store = storage_root(), spec_files()
    ids = [named_experiment(name) for name in ids or []]
    chosen = chosen_ids(root, store, ids, sweep, where)
    if not chosen:
        condition = f" for which {where} holds" if where else ""
        typer.echo(f"There is no experiment{condition}. Next: assay new regression, or assay sweep BASE --grid …")
        return
    collection = collect(root, store, chosen, subset)
    rankings = rank(collection, metric)
    repeats = repeats_in(collection, rankings)
    if any(len(ranking.ranked) > 1 for ranking in rankings):
        from assay.comparison.pairs import with_sure_order  # torch: only here

        rankings = [with_sure_order(root, each, subset) if len(each.ranked) > 1 else each for each in rankings]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED
    texts = [repeats_text(groups, task, subset, width) for task, groups in repeats.items()]
    texts += [as_text(ranking, subset, width, costs) for ranking in without_repeats(rankings, repeats)]
    typer.echo("\n\n".join("\n".join(lines) for lines in texts))
    if costs or sweep:
        typer.echo(f"\n{price(collection)}")
    if any(ranking.ranked for ranking in rankings):
        name = selection_name(ids, sweep, where)
        page = html or root / "compare" / f"{name}.html"
        write_comparison(page, sweep or name, rankings, collection, repeats)
        typer.echo(f"\nPage with curves: {page}")


def diff(
    first: ExperimentName,
    second: Annotated[
        str | None, typer.Argument(help="ID of another one of the same task; its own former data when left out")
    ] = None,
    subset: Annotated[str, typer.Option(help="the subset whose items are compared")] = "test",
) -> None:
    """Show why two experiments differ: keys, results, metrics on the same items, and the items that changed sides.

    With one ID: what an experiment's results were before its data changed, such as a label that was mended.
    """
    from assay.comparison.explanations import as_lines, before_and_now_lines
    from assay.comparison.impact import before_and_now
    from assay.comparison.load import collect  # Polars and DuckDB: only here
    from assay.comparison.pairs import compare_pair
    from assay.comparison.ranking import chosen_ids

    root, store = storage_root(), spec_files()
    first = named_experiment(first)
    if second is None:
        (entry,) = collect(root, store, chosen_ids(root, store, [first], None, None), subset).entries
        typer.echo("\n".join(before_and_now_lines(before_and_now(root, entry, subset), first, subset)))
        return
    second = named_experiment(second)
    chosen = chosen_ids(root, store, [first, second], None, None)
    everyone = store.ids()
    if len(everyone) <= MOST_BETWEEN:
        chosen = [*chosen, *(name for name in everyone if name not in chosen)]
    typer.echo("\n".join(as_lines(compare_pair(root, collect(root, store, chosen, subset), first, second), subset)))


def impact(
    what: Annotated[str, typer.Argument(help="a file of your data, an item as tables show it, or a label")],
    of: Annotated[
        str | None, typer.Option(help="an experiment that has the item, where several data have one of this name")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="only metrics on this subset")] = None,
) -> None:
    """Show which experiments contain a file, an item or a label, their metrics without it, and how to mend it."""
    from assay.comparison.explanations import impact_lines
    from assay.comparison.impact import impact_of  # torch: only here
    from assay.experiments.folders import experiments_with_folder

    root, store = storage_root(), spec_files()
    known = experiments_with_folder(root) & {*store.ids()}
    if of is not None and of not in known:
        raise DataError(f"--of: {unknown('Experiment with results', of, known)}")
    typer.echo("\n".join(impact_lines(impact_of(root, known, what, of), what, subset)))


MOST_BETWEEN = 500
"""Experiments among which ``diff`` looks for those in between; reading more takes longer than comparing two."""


class ExportFormat(Enum):
    """Formats of other tools: of predictions, and of models."""

    coco = "coco"
    yolo = "yolo"
    onnx = "onnx"
    safetensors = "safetensors"
    torch = "torch"


MODEL_FORMATS = (ExportFormat.onnx, ExportFormat.safetensors, ExportFormat.torch)


def export(
    experiment_id: ExperimentName,
    format: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="the model: onnx, safetensors or torch; predicted boxes or masks: coco (JSON), yolo (boxes only)",
        ),
    ],
    to: Annotated[
        Path | None, typer.Option("--to", help="new or empty folder; of a model, ID-FORMAT when left out")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option("--like", help="your COCO file, data.yaml or classes.txt, whose IDs and class numbers are taken"),
    ] = None,
) -> None:
    """Write the trained model for other programs, or predicted boxes or masks in the format of another tool.

    A model is written only if it gives the trained one's numbers and decisions on up to 256 test items.
    """
    if format in MODEL_FORMATS:
        _export_model(experiment_id, format, to, like)
        return
    experiment_id = experiment_meant(storage_root(), experiment_id, spec_files())
    spec = spec_files().load(validate_id(experiment_id))
    if to is None:
        raise DataError(
            f"--format {format.value} needs --to, a new or empty folder: --to {experiment_id}-{format.value}"
        )
    from assay.export.predictions import require_empty  # Polars: only here

    require_empty(to)
    if spec.learning == "segmentation":
        found, written = _masks(experiment_id, spec, format, to, like)
    else:
        found, written = _boxes(experiment_id, spec, format, to, like)
    typer.echo(f"{found}: {', '.join(str(path) for path in written[:2])}{', …' * (len(written) > 2)}")


def _export_model(experiment_id: str, format: ExportFormat, to: Path | None, like: Path | None) -> None:
    from assay.export.predictions import require_empty
    from assay.inference.export import export_model  # torch: only here
    from assay.inference.model import open_model
    from assay.inference.stored import note_on_precision

    if like is not None:
        raise DataError(f"--like is for boxes and masks, but --format {format.value} writes a model; leave it out.")
    folder = to or Path(f"{Path(experiment_id).name.replace(':', '-')}-{format.value}")
    require_empty(folder)
    model = open_model(experiment_id)
    parity = export_model(model, format.value, folder)
    typer.echo(
        f"{folder}: the trained model's numbers in float32 on {pluralize(parity.items, 'test item')}, within "
        f"{parity.largest_difference:.2g}; model.json describes it"
    )
    if note := note_on_precision(model.stored):
        typer.echo(note, err=True)


def _boxes(
    experiment_id: str, spec: ExperimentSpec, format: ExportFormat, to: Path, like: Path | None
) -> tuple[str, list[Path]]:
    from assay.export.coco import export_coco
    from assay.export.predictions import read_detections
    from assay.export.yolo import export_yolo

    detections = read_detections(storage_root(), experiment_id, spec)
    write = {ExportFormat.coco: export_coco, ExportFormat.yolo: export_yolo}[format]
    return f"{pluralize(len(detections.boxes), 'box', 'boxes')} of {pluralize(len(detections.images), 'image')}", write(
        detections, to, like
    )


def _masks(
    experiment_id: str, spec: ExperimentSpec, format: ExportFormat, to: Path, like: Path | None
) -> tuple[str, list[Path]]:
    if format is not ExportFormat.coco:
        raise DataError(
            f"--format {format.value} has no masks, and experiment {experiment_id!r} predicts nothing else; "
            "use --format coco."
        )
    from assay.export.coco import export_coco_masks
    from assay.export.predictions import read_masks

    masks = read_masks(storage_root(), experiment_id, spec)
    return f"masks of {pluralize(len(masks.images), 'image')}", export_coco_masks(masks, to, like)


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="port on 127.0.0.1")] = 8501,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open it in a browser")] = True,
) -> None:
    """Look at all experiments in a browser: filter, compare, see pictures, download."""
    from assay.dashboard.server import require_extra, require_port, serve  # Streamlit and Polars: only here

    require_extra()
    require_port(port)
    serve(storage_root(), port, browser)
