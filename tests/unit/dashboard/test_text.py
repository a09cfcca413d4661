"""Users' texts in Markdown."""

from string import printable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.dashboard.views.common import PUNCTUATION, plain


def test_nothing_in_a_text_is_markup():
    assert plain("![x](http://evil) <b>$a$ :red[b]") == (r"\!\[x\]\(http\:\/\/evil\) \<b\>\$a\$ \:red\[b\]")
    assert plain("two\n# lines") == r"two \# lines"


@pytest.mark.parametrize("name", ["learning_rate", "rates-02", "source.img_size.width", "v1.5"])
def test_names_stay_as_they_are(name):
    assert plain(name) == name


@pytest.mark.parametrize("text", ["1.", "- item", "_a_", "www.evil.example", "a*b*", "a-"])
def test_markdown_syntax_is_escaped(text):
    assert plain(text) != text


@given(st.text(printable))
@pytest.mark.system
def test_all_punctuation_is_escaped_and_nothing_is_lost(text):
    escaped = plain(text)
    assert "\n" not in escaped
    assert PUNCTUATION.sub("", escaped) == PUNCTUATION.sub("", " ".join(text.split()))
    if escaped != text:
        assert escaped.count("\\") == len(PUNCTUATION.findall(text)) + text.count("\\")
