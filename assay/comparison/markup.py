"""HTML as a tree of elements: whatever text is put into it, it can't become markup.

Belongs here: making elements and writing them. Does not belong here: a page.
"""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

Element = ElementTree.Element
Content = Element | str

_NAMESPACE = re.compile(r"\{[^}]*\}")
_TOO_EXACT = re.compile(r"(\.\d)\d+")
"""Digits of coordinates beyond a tenth of a pixel, which are a third of a large SVG."""


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """Return an element; a trailing ``_`` of an attribute's name is dropped and others become ``-``."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = Element(tag, names)
    append(made, content)
    return made


def append(parent: Element, content: Iterable[Content]) -> None:
    """Put texts and elements behind what an element holds."""
    for part in content:
        if not isinstance(part, str):
            parent.append(part)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + part
        else:
            parent.text = (parent.text or "") + part


def write_page(html: Element) -> str:
    """Return the text of a whole page."""
    return f"<!doctype html>\n{ElementTree.tostring(html, encoding='unicode', method='html')}\n"


def inline_svg(text: str) -> Element:
    """Return an SVG of ``assay.pictures`` for use inside of a page; ``row-<n>`` of an ID becomes ``data-row``."""
    svg = ElementTree.fromstring(text)  # noqa: S314 - our own
    for part in svg.iter():
        part.tag = _NAMESPACE.sub("", part.tag)
        part.attrib = {_NAMESPACE.sub("", name): value for name, value in part.attrib.items()}
        part.text, part.tail = part.text if part.text and part.text.strip() else None, None
        if "d" in part.attrib:
            part.set("d", " ".join(_TOO_EXACT.sub(r"\1", part.attrib["d"]).split()))
        name = part.attrib.pop("id", "") if part.tag == "g" else ""
        if name.startswith("row-"):
            part.set("data-row", name.removeprefix("row-"))
    for part in svg.findall("metadata"):
        svg.remove(part)
    del svg.attrib["width"], svg.attrib["height"]
    svg.set("role", "img")
    return svg
