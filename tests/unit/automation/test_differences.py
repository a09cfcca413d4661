"""Changes between two specs, as messages."""

from assay.automation.reasons import changes_between


def shown(old, new):
    return [str(change) for change in changes_between(old, new)]


def test_a_change_names_key_old_and_new_value():
    assert shown({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}) == ["a.b: 1 → 3"]


def test_added_and_removed_keys_are_shown_with_none():
    assert shown({"a": {"b": 1}}, {"a": {"c": [1, 2]}}) == ["a.c: (none) → [1, 2]", "a.b: 1 → (none)"]


def test_long_values_are_cut():
    (line,) = shown({"a": "x"}, {"a": "y" * 500})
    assert line == f"a: x → {'y' * 60}…"


def test_secrets_and_hidden_keys_are_not_shown():
    assert shown({"api_key": "s3cret"}, {"api_key": "0ther"}) == []
    hidden = {"remove_key_list": ["private"]}
    assert shown({"x": {"private": 1}, **hidden}, {"x": {"private": 2}, **hidden}) == []


def test_keys_that_one_section_hides_are_shown_in_others():
    old = {"x": {"private": 1, "remove_key_list": ["private"]}, "y": {"private": 1}, "remove_key_list": []}
    new = {"x": {"private": 2, "remove_key_list": ["private"]}, "y": {"private": 2}, "remove_key_list": []}
    assert shown(old, new) == ["y.private: 1 → 2"]
