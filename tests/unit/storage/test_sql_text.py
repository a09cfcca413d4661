import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.storage.parquet import escape_glob, quote_identifier, quote_literal

ODD = ["a", "select", 'q"uote', "it's", "; drop table x; --", "ünï → 名", "new\nline", "$1 ? %s {x}", "\\", "[a]*?"]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(TEXT)
@settings(max_examples=50, deadline=None)
def test_a_quoted_literal_is_the_value_itself(value: str) -> None:
    assert duckdb.sql(f"select {quote_literal(value)}").fetchall() == [(value,)]


@pytest.mark.parametrize("name", ODD)
def test_a_quoted_identifier_names_a_column_exactly(name: str) -> None:
    assert duckdb.sql(f"select 1 as {quote_identifier(name)}").columns == [name]


@pytest.mark.parametrize("quote", [quote_identifier, quote_literal])
def test_nul_characters_are_refused(quote) -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


def test_an_empty_identifier_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        quote_identifier("")


def test_an_escaped_path_matches_only_itself(tmp_path) -> None:
    folder = tmp_path / "w[ei]rd *? 'x"
    folder.mkdir()
    (folder / "a.csv").write_text("x\n1\n")
    (tmp_path / "we").mkdir()
    pattern = escape_glob(str(folder)) + "/*.csv"
    assert duckdb.sql(f"select count(*) from glob({quote_literal(pattern)})").fetchall() == [(1,)]
