"""The order in which people expect names."""

import re


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts "10" after "9", and numbers before words."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
