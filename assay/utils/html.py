"""HTML as a tree of elements, so that names, tags and other texts of users can't become markup.

Belongs here: elements, pages as text, and the small plot of a value with its interval that pages share. Does not belong
here: what a page shows.
"""

from collections.abc import Iterable
from importlib.resources import files
from xml.etree import ElementTree

Element = ElementTree.Element
Content = Element | str

STATIC_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content Security Policy of pages that fetch nothing, and where nothing runs."""

WHISKER_WIDTH, WHISKER_HEIGHT = 150, 18


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """Return an element; in names of attributes, a trailing ``_`` is dropped and others become ``-``."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    parent = Element(tag, names)
    append(parent, content)
    return parent


def append(parent: Element, content: Iterable[Content]) -> None:
    """Append texts and elements to the content of an element."""
    for part in content:
        if not isinstance(part, str):
            parent.append(part)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + part
        else:
            parent.text = (parent.text or "") + part


def page_head(title: str, policy: str, style: str) -> Element:
    """Return the head of a page that needs no network.

    Args:
        title: Title of the window.
        policy: Content Security Policy: should a text become markup by mistake, it still could do nothing.
        style: The style sheet.
    """
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )


def write_page(html: Element) -> str:
    """Return a whole page as text."""
    return f"<!doctype html>\n{ElementTree.tostring(html, encoding='unicode', method='html')}\n"


def shipped_text(name: str) -> str:
    """Return the text of a file in ``assay/templates/``: a style sheet or a script."""
    return (files("assay") / "templates" / name).read_text(encoding="utf-8")


def whisker(
    value: float | None,
    interval: tuple[float | None, float | None],
    baseline: float | None,
    shown: tuple[float, float],
) -> Element:
    """Return a small plot: the value as a dot, its interval as a line, the baseline as a mark.

    Args:
        value: The value; None where it is not defined.
        interval: Both ends; None where there is none.
        baseline: The baseline; left out where it lies outside.
        shown: Both ends of the axis.
    """
    low, high = shown

    def x(number: float) -> str:
        return f"{4 + (WHISKER_WIDTH - 8) * (number - low) / ((high - low) or 1.0):.1f}"

    y = str(WHISKER_HEIGHT // 2)
    marks: list[Content] = []
    if baseline is not None and low <= baseline <= high:
        at = x(baseline)
        marks.append(element("line", x1=at, x2=at, y1="2", y2=str(WHISKER_HEIGHT - 2), class_="baseline"))
    if interval[0] is not None and interval[1] is not None:
        marks.append(element("line", x1=x(interval[0]), x2=x(interval[1]), y1=y, y2=y, class_="interval"))
    if value is not None:
        marks.append(element("circle", cx=x(value), cy=y, r="3.5"))
    sizes = {"width": str(WHISKER_WIDTH), "height": str(WHISKER_HEIGHT)}
    return element("svg", *marks, viewBox=f"0 0 {WHISKER_WIDTH} {WHISKER_HEIGHT}", aria_hidden="true", **sizes)
