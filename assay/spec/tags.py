"""The key ``tags``: names with a text each, by which people group experiments."""

import re
from typing import Annotated

from pydantic import AfterValidator

from assay.spec.ids import shorten

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
"""What a run of Dagster takes as the name of a tag."""

MOST_TAGS = 50
MOST_CHARACTERS = 200


def _check(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MOST_TAGS:
        raise ValueError(f"got {len(tags)} tags; expected at most {MOST_TAGS}")
    for name, value in tags.items():
        if not NAME.fullmatch(name):
            wanted = "1 to 63 letters, digits, '_', '.' and '-', the first a letter or digit"
            raise ValueError(f"name {shorten(name)} is not valid; expected {wanted}")
        if not 0 < len(value) <= MOST_CHARACTERS or not value.isprintable():
            wanted = f"1 to {MOST_CHARACTERS} printable characters on one line"
            raise ValueError(f"{name} is {shorten(value)}; expected {wanted}")
    return tags


Tags = Annotated[dict[str, str], AfterValidator(_check)]
"""Texts by name."""
