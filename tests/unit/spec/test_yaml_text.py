"""YAML text is the same whichever emitter wrote it: stored files are compared by their bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.experiments.specs import TEMPLATES, template
from assay.spec.loading import spec_from
from assay.spec.yaml_text import _dumped, _Dumper, read_mapping, to_yaml

LINES = "a é漢\U0001f600'\"\\:#-?[]{}&*!|>%@`~=<\n\t\r\x07\x85\u2028\ufeff"
WORDS = [
    "",
    "no",
    "null",
    "1e-3",
    "010",
    "---",
    "<<",
    "? a",
    "- a",
    "a: b",
    "a #b",
    " a",
    "a ",
    "a\n",
    "\na",
    "a\n\n b",
]
texts = st.one_of(
    st.text(alphabet=LINES, max_size=20),
    st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join),
    st.sampled_from([*WORDS, "word " * 40, "x" * 130, "é" * 130]),
)
values = st.recursive(
    st.one_of(texts, st.none(), st.booleans(), st.integers(), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(texts, values, max_size=4))
def test_any_value_is_written_as_by_pyyamls_own_emitter(value):
    assert to_yaml(value) == _dumped(value, _Dumper)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_spec_is_written_as_by_pyyamls_own_emitter_and_read_again(name):
    whole = spec_from(template(name), name).as_dict()
    assert to_yaml(whole) == _dumped(whole, _Dumper)
    assert read_mapping(to_yaml(whole), name) == whole


@pytest.mark.parametrize("text", ["\ud800", "a\ud800b", "\U0001f600", "back\\slash", "a\x07b"])
def test_what_the_fast_emitter_can_not_write_alike_is_left_to_the_other(text):
    assert to_yaml({"a": text}) == _dumped({"a": text}, _Dumper)


@pytest.mark.parametrize("key", ["", "k" * 101, "k" * 130, "k " * 60])
def test_keys_that_both_emitters_mark_differently_are_left_to_pyyamls_own(key):
    value = {"a": [{key: {"b": 1}}]}
    assert to_yaml(value) == _dumped(value, _Dumper)
