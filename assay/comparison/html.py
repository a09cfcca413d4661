"""The page of a comparison: one HTML file that needs nothing else, not even the network.

Belongs here: what is where on the page. Does not belong here: cells (``rows``), pictures (``figures``).
"""

import base64
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from assay.comparison.entries import ComparisonData
from assay.comparison.figures import curve_panels, key_panels
from assay.comparison.markup import Content, Element, element, inline_svg, write_page
from assay.comparison.ranking import Ranking
from assay.comparison.rows import table
from assay.comparison.words import about, title, verdict
from assay.files import write_text
from assay.pictures.compared import Panel, compared


def write_comparison(path: Path, name: str, rankings: list[Ranking], collection: ComparisonData) -> None:
    """Write the page atomically.

    Args:
        path: Where to.
        name: What is compared.
        rankings: One per task.
        collection: What they were made from.
    """
    write_text(path, write_page(comparison_page(path, name, rankings, collection)))


def comparison_page(path: Path, name: str, rankings: list[Ranking], collection: ComparisonData) -> Element:
    """Return the page as a tree."""
    style, script = (_shipped(f"compare.{kind}") for kind in ("css", "js"))
    # Even a text that became markup by a mistake of ours could not run: only this very script may.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{name}: comparison"),
        element("style", style),
    )
    sections = [_section(ranking, path, collection) for ranking in rankings]
    body = element("body", _header(name, collection), *sections, element("script", script))
    return element("html", head, body, lang="en")


def _shipped(name: str) -> str:
    return (files("assay") / "templates" / name).read_text(encoding="utf-8")


def _header(name: str, collection: ComparisonData) -> Element:
    count = len(collection.entries)
    known = sum(bool(entry.scores) for entry in collection.entries)
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    counts = f"{known} of {count} experiments have results · subset {collection.subset} · written {written}"
    return element("header", element("h1", name), element("p", counts, class_="faint"))


def _section(ranking: Ranking, path: Path, collection: ComparisonData) -> Element:
    content: list[Content] = [element("h2", title(ranking, collection.subset))]
    if ranking.ranked:
        content += [element("p", verdict(ranking), class_="verdict")]
        content += [element("div", table(ranking, path), class_="wide")]
        content += _figure("Learning", curve_panels(ranking, collection.history), ranking)
        content += _figure("What was varied", key_panels(ranking), ranking)
    if ranking.others:
        listed = element("ul", *(element("li", about(entry)) for entry in ranking.others))
        summary = element("summary", f"Without results: {len(ranking.others)}")
        content.append(element("details", summary, listed, **({} if ranking.ranked else {"open": "open"})))
    return element("section", *content)


def _figure(heading: str, panels: list[Panel], ranking: Ranking) -> list[Content]:
    if not panels:
        return []
    names = [entry.experiment_id for entry in ranking.ranked]
    svg = inline_svg(compared(panels, names))
    for part in svg.iter("g"):
        if "data-row" in part.attrib:
            part.insert(0, element("title", names[int(part.attrib["data-row"])]))
    svg.set("aria-label", heading)
    return [element("h3", heading), element("figure", svg)]
