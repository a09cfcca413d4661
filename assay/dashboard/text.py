"""Texts of users in places that read Markdown.

Belongs here: making them harmless. Does not belong here: choosing words.
"""

import re

PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
NAME = re.compile(r"(?!www\.)[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
"""What means nothing in Markdown, such as an ID or a key; as labels, these stay as they are for screen readers."""


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line: no link, picture, colour, formula or HTML."""
    return text if NAME.fullmatch(text) else PUNCTUATION.sub(r"\\\1", " ".join(text.split()))
