"""Secrets: recognized by names of keys and environment variables, read from the environment, never written.

Belongs here: what counts as a secret, references to environment variables, hiding secrets in texts. Does not belong
here: where texts are written.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from assay.errors import SpecError

SECRET_KEY = re.compile(r"(?i)password|passwd|secret|token|credential|api_?key|access_?key")
"""Names of keys, and of environment variables, whose values are secrets."""

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A reference to an environment variable: ``${TEAM_SECRET_KEY}``."""

SHORTEST_SECRET = 8
"""Values of variables with fewer characters are too common as texts to be hidden wherever they occur."""

HIDDEN = "***"
_URL_LOGIN = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(?!git@)[^/\s@'\"]+@")
_URL_PARAMETER = re.compile(
    r"(?i)([?&][\w.-]*(?:password|passwd|secret|token|credential|signature|key)[\w.-]*=)[^&\s'\"]+"
)


def without_keys(value: Any, removed: frozenset[str]) -> Any:
    """Return ``value`` without the removed keys, and without keys that look like secrets, at any depth."""
    if isinstance(value, Mapping):
        kept = {key: item for key, item in value.items() if key not in removed and not SECRET_KEY.search(str(key))}
        return {key: without_keys(item, removed) for key, item in kept.items()}
    if isinstance(value, list | tuple):
        return [without_keys(item, removed) for item in value]
    return value


def without_removed_keys(values: Mapping[str, Any], spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return plain values of a whole spec as they may be saved and shown: without the keys that its lists remove.

    The ``remove_key_list`` of a section holds for the section, that of the experiment for everything else.

    Args:
        values: The values.
        spec: The plain values of the spec whose lists are followed; None: the same.
    """
    follow = values if spec is None else spec
    removed = _key_list(follow)
    own = {name: _key_list(follow.get(name)) for name in values}
    lists = {name: removed if each is None else each for name, each in own.items()}
    kept = without_keys({name: None for name in values}, frozenset(removed or ()))
    return {name: without_keys(values[name], frozenset(lists[name] or ())) for name in kept}


def _key_list(values: Any) -> list[str] | None:
    """Return the ``remove_key_list`` of plain values; None if there is none."""
    found = values.get("remove_key_list") if isinstance(values, Mapping) else None
    return [str(name) for name in found] if isinstance(found, list | tuple) else None


def hide(text: str) -> str:
    """Return a text without passwords in URLs and without the values of secret environment variables."""
    text = _URL_PARAMETER.sub(rf"\1{HIDDEN}", _URL_LOGIN.sub(rf"\1{HIDDEN}@", text))
    for value in _secret_values().values():
        text = text.replace(value, HIDDEN)
    return text


def _secret_values() -> dict[str, str]:
    """Return the secret values by variable, the longest first, because one may be part of another."""
    found = {name: value for name, value in os.environ.items() if SECRET_KEY.search(name)}
    usable = {name: value for name, value in found.items() if len(value) >= SHORTEST_SECRET}
    return dict(sorted(usable.items(), key=lambda item: -len(item[1])))


def resolved(value: Any, where: str) -> Any:
    """Return plain values with every ``${NAME}`` replaced by that environment variable.

    Args:
        value: Plain values at any depth.
        where: Name of the file and key in the error message.

    Raises:
        SpecError: A variable is not set; the message names it.
    """
    if isinstance(value, Mapping):
        return {key: resolved(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, where) for item in value]
    return REFERENCE.sub(lambda match: _variable(match[1], where), value) if isinstance(value, str) else value


def _variable(name: str, where: str) -> str:
    if name not in os.environ:
        raise SpecError(where, [f"the environment variable {name} is not set; set it before you start Assay"])
    return os.environ[name]


def written_secrets(values: Mapping[str, Any], is_settings: Callable[[Mapping[str, Any]], bool]) -> list[str]:
    """Return one sentence per secret in plain text: under a secret's name, in a URL, or a secret variable's value.

    Args:
        values: Plain values at any depth.
        is_settings: Whether the keys of a mapping are names of settings, and not, for example, of classes.
    """
    suspicious = hide(text := json.dumps(values, default=str, ensure_ascii=False)) != text
    return [*_under_secret_names(values, "", is_settings), *(_in_texts(values, "") if suspicious else ())]


def _under_secret_names(value: Any, path: str, is_settings: Callable[[Mapping[str, Any]], bool]) -> Iterator[str]:
    if isinstance(value, Mapping):
        settings = is_settings(value)
        for key, item in value.items():
            if settings and isinstance(item, str) and SECRET_KEY.search(str(key)) and not REFERENCE.fullmatch(item):
                yield f"{path}{key}: holds a secret; write ${{NAME}} and set that environment variable instead"
            else:
                yield from _under_secret_names(item, f"{path}{key}.", is_settings)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _under_secret_names(item, f"{path}{number}.", is_settings)


def _in_texts(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _in_texts(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _in_texts(item, f"{path}.{number}")
    elif isinstance(value, str) and hide(value) != value:
        names = [name for name, secret in _secret_values().items() if secret in value]
        what = f"the value of the environment variable {names[0]}" if names else "a URL with a login"
        yield f"{path[1:]}: holds {what}, and would be saved with every result; take it out"
