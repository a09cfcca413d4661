"""Texts of users in Markdown and in tables of the terminal, read back by a Markdown parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from assay.utils.text import code_block, escape_markdown, readable_size, text_table

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])

EVIL = [
    "```\n</code>\n# out",
    "~~~\nout",
    "``` ` `` ````",
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1)) [y][z]\n\n[z]: http://evil.example",
    "<script>alert(1)</script></pre>",
    "a | b\n--|--\n1 | 2",
    "title\n=====\n- item\n+ item\n* item\n1. item\n2) item\n> quote\n# heading",
    "*a* **b** _c_ __d__ ~~e~~ &lt; \\* <!-- <? <http://evil.example>",
    "    four blanks\n\ttab",
    "---\n***\n___",
    "a\\\nb  \nc",
    "<-=#@b>",
]

TEXTS = st.text(st.sampled_from("ab1 \n\t`*_~[](){}<>#+-=.!|\\&;:/\"'"), max_size=40)


def shown(markdown):
    """Return the text that Markdown shows; fails where it shows anything but paragraphs of plain text."""
    found = []
    for token in MARKDOWN.parse(markdown):
        assert token.type in ("paragraph_open", "inline", "paragraph_close"), (token.type, markdown)
        for part in token.children or ():
            assert part.type in ("text", "softbreak", "text_special"), (part.type, markdown)
            found.append(part.content or " ")
        found.append(" ")
    return " ".join("".join(found).split())


@pytest.mark.parametrize("text", EVIL)
def test_no_text_is_more_than_text(text):
    assert shown(escape_markdown(text)) == " ".join(text.split())


@given(TEXTS)
def test_no_made_up_text_is_more_than_text(text):
    assert shown(escape_markdown(text)) == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    ["mae is 0.5, expected < 0.1; [0.4, 0.6]", "models/model_last.safetensors: 36 files", "a & b, 2 * 3", "-0.5 mm"],
)
def test_numbers_intervals_and_files_stay_readable(text):
    assert escape_markdown(text) == text


@pytest.mark.parametrize("text", EVIL)
def test_no_text_leaves_its_code_block(text):
    block, *others = MARKDOWN.parse(code_block(text, "yaml"))
    assert (block.type, block.info, block.content, others) == ("fence", "yaml", f"{text}\n", [])


@given(TEXTS)
def test_no_made_up_text_leaves_its_code_block(text):
    block, *others = MARKDOWN.parse(code_block(text))
    assert (block.type, others) == ("fence", [])
    assert block.content.rstrip("\n") == text.rstrip("\n")


def test_a_cell_can_neither_break_a_row_nor_move_the_cursor():
    lines = text_table(["a", "b"], [["x\ny", "\x1b[2J\r1"]])
    assert lines == ["a     b", r"x\ny  \x1b[2J\r1"]


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (25_600, "26 kB"),
        (999_600, "1.0 MB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_a_size_has_two_digits_and_a_unit(size_bytes, shown):
    assert readable_size(size_bytes) == shown
