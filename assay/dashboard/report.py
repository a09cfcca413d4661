"""The report of one experiment: a self-contained HTML page (a model card), which needs no network.

Everything is read from the experiment's own folder, so that experiments that were copied or imported have a report too;
only the sample pictures of the data come from the storage. The page tells nothing of the moment when it was written:
the same experiment gives the same bytes.

Belongs here: writing the page, its head and beginning. Does not belong here: its sections
(``assay.dashboard.report_sections``), HTML as a tree (``assay.utils.html``).
"""

from pathlib import Path

from assay.analysis.base import ANALYSIS_SCHEMA, baseline_text
from assay.dashboard.data import started_at
from assay.dashboard.details import FolderRecords, plots_of, read_records
from assay.dashboard.report_sections import (
    SECTIONS,
    Sources,
    model_kind,
    row_score,
    rows_over_all_classes,
)
from assay.dashboard.report_values import as_mapping, note, shown_text
from assay.errors import FileError, StorageError
from assay.experiments.checks import recorded_tests
from assay.experiments.folders import REPORT_PAGE
from assay.metrics.registry import label_of
from assay.spec.secrets import hide
from assay.storage.files import write_bytes
from assay.storage.locks.acquire import hold
from assay.utils.html import STATIC_POLICY, Content, Element, append, element, page_head, shipped_text, write_page
from assay.utils.reading import open_regular
from assay.utils.text import readable_number

GENERATOR = '<meta name="generator" content="Assay report">'
"""By which a report is recognized, so that no other file is replaced by one."""

MOST_CARDS = 4


def write_report(root: Path, experiment_id: str, out: Path | None = None) -> Path:
    """Write the report of an experiment atomically, and return the page's path.

    Args:
        root: Storage root.
        experiment_id: ID of the experiment.
        out: The HTML file; None: ``report.html`` in the experiment's folder.

    Raises:
        IdError: The ID is not valid.
        StorageError: The experiment has no folder yet, its records are damaged or of a version without what a report
            needs, or ``out`` is something else than a report.
    """
    if out is not None:
        _require_report(out, experiment_id)
    records = read_records(root, experiment_id)
    content = page_text(report_page(root, records))
    if out is not None:
        write_bytes(out, content)
        return out
    with hold(root / "locks", f"experiments/{experiment_id}", "write", "writing its report"):
        write_bytes(records.folder / REPORT_PAGE, content)
    return records.folder / REPORT_PAGE


def page_text(page: Element) -> bytes:
    """Return a page as bytes; what is no text, as in names of files in another encoding, is written as an escape."""
    return write_page(page).encode("utf-8", "backslashreplace")


def _require_report(out: Path, experiment_id: str) -> None:
    """Refuse to replace anything but a report."""
    if out.is_dir():
        raise StorageError(f"{out} is a folder. Name a file: --out {out / f'{experiment_id}.html'}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise StorageError(
            f"{out} does not end in .html, as a page does. Nearest valid: --out {out.with_suffix('.html')}"
        )
    try:
        with open_regular(out) as file:
            is_report = GENERATOR.encode() in file.read(4096)
    except FileNotFoundError:
        return
    except FileError as error:
        raise StorageError(str(error)) from error
    if not is_report:
        raise StorageError(f"{out} exists and is no report of Assay. Choose another name, or remove it first.")


def report_page(root: Path, records: FolderRecords) -> Element:
    """Return the page as a tree.

    Args:
        root: Storage root.
        records: What the experiment's folder says.

    Raises:
        StorageError: A table is damaged, or of a version without what a report needs.
    """
    name = records.experiment_id
    added_later = ("baseline", "baseline_name", "unit", "simple_value", "simple_model")
    scores = records.table("analysis", "analysis", ANALYSIS_SCHEMA, added_later)
    sources = Sources(root, records, recorded_tests(root, name), plots_of(root, name), scores)
    sections = [(title, build(sources)) for title, build in SECTIONS]
    head = page_head(f"{name}: report", STATIC_POLICY, shipped_text("report.css"))
    head.insert(1, element("meta", name="generator", content="Assay report"))
    append(head, [element("link", rel="icon", href="data:,")])
    links = element("nav", *(element("a", title, href=f"#{_anchor(title)}") for title, _ in sections))
    parts = [element("section", element("h2", title), *content, id=_anchor(title)) for title, content in sections]
    body = element("body", _header(sources), links, element("main", *_lead(sources), *parts))
    _hide_secrets(body)
    return element("html", head, body, lang="en")


def _hide_secrets(body: Element) -> None:
    """Take logins and the values of secret environment variables out of all texts, most likely of none."""
    texts = "\n".join(body.itertext())
    if hide(texts) == texts:
        return
    for part in body.iter():
        part.text, part.tail = hide(part.text or ""), hide(part.tail or "")
        if "alt" in part.attrib:
            part.set("alt", hide(part.attrib["alt"]))


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _header(sources: Sources) -> Element:
    records = sources.records
    started = started_at(str(records.info.get("run_id", "")))
    facts = [
        str(records.spec.get("name") or ""),
        records.task.replace("_", " "),
        model_kind(sources),
        f"started {started:%Y-%m-%d %H:%M} UTC" if started else "",
    ]
    tags = [
        element("span", shown_text(f"{name}: {value}"), class_="tag")
        for name, value in as_mapping(records.spec.get("tags")).items()
    ]
    description = str(records.spec.get("description") or "")
    return element(
        "header",
        element("p", "Experiment report", class_="kicker"),
        element("h1", records.experiment_id),
        element("p", shown_text(" · ".join(fact for fact in facts if fact)), class_="faint"),
        *([element("p", shown_text(description))] if description else []),
        *([element("p", *tags)] if tags else []),
    )


def _lead(sources: Sources) -> list[Content]:
    """Return what comes first: what is missing, the summary, the next step and the main metrics."""
    records, analysis = sources.records, sources.report("analysis")
    lead: list[Content] = []
    if missing := records.missing:
        lead.append(note(f"Not finished: {', '.join(missing)} not made yet. Next: assay run {records.experiment_id}"))
    if records.note:
        lead.append(note(f"{records.note} Next: assay run {records.experiment_id}"))
    if "summary" in analysis:
        lead.append(element("p", shown_text(analysis["summary"]), class_="summary"))
    if "next" in analysis:
        lead.append(element("p", element("b", "Next: "), shown_text(analysis["next"])))
    return [*lead, *_cards(sources)]


def _cards(sources: Sources) -> list[Content]:
    rows = rows_over_all_classes(sources, sources.subset)[:MOST_CARDS]
    cards = []
    for row in rows:
        score = row_score(row)
        baseline = baseline_text(score.baseline_name, score.baseline) if score.baseline is not None else ""
        simple = f"{row['simple_model']} {readable_number(row['simple_value'])}" if row.get("simple_model") else ""
        parts = [sources.interval_text(row), baseline, simple]
        under = [element("small", shown_text(part)) for part in parts if part]
        value = element("b", shown_text(f"{readable_number(score.value)} {score.unit}".strip()))
        cards.append(
            element("div", element("small", shown_text(f"{label_of(row['metric'])} on {row['subset']}")), value, *under)
        )
    return [element("div", *cards, class_="cards")] if cards else []
