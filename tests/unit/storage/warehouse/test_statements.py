import pytest

from assay.storage.warehouse.query import may_read


@pytest.mark.parametrize("sql", ["select * from analysis", 'FROM "Analysis"', "select 1 from main.analysis, t", ""])
def test_a_statement_may_read_what_it_names(sql: str) -> None:
    assert may_read(sql)("main.analysis")


def test_a_statement_does_not_read_what_it_does_not_name() -> None:
    wanted = may_read("select experiment_id from analysis")
    assert not wanted("main.experiments")
    assert not wanted("main.training_history")


@pytest.mark.parametrize("sql", ["from information_schema.tables", "SHOW ALL TABLES", "from query_table('a' || 'b')"])
def test_a_statement_about_tables_may_read_any(sql: str) -> None:
    assert may_read(sql)("other.anything")
