"""Dates as numbers: what is a date, which parts, and what happens to texts that are none."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from assay.datasets.dates import (
    DateInfo,
    date_columns,
    fit_dates,
    holds_dates,
    in_parts,
    parts_of,
    undated,
    with_parts,
    zone_of,
)
from assay.errors import DataError

DAYS = ["2024-01-31", "2024-02-29", "2023-12-25", "2024-02-29"]
PARTS = {"year": [2024, 2023], "month": [1, 12], "weekday": [3, 1], "day_of_year": [31, 359], "hour": [8, 0]}
TIMES = [datetime(2024, 1, 31, 8, 15), datetime(2023, 12, 25)]


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("day", TIMES),
        pl.Series("day", TIMES, pl.Datetime("ms")),
        pl.Series("day", [each.replace(tzinfo=UTC) for each in TIMES]),
        pl.Series("day", ["2024-01-31T08:15", "2023-12-25"]),
        pl.Series("day", [" 2024-01-31 08:15:59.25Z", "2023-12-25T00:00+02:00 "]),
        pl.Series("day", ["2024-01-31T08:15", "2023-12-25"], pl.Categorical),
    ],
)
def test_dates_and_times_of_any_type_have_the_same_parts(values):
    assert holds_dates(values)
    assert parts_of(values).to_dict(as_series=False) == PARTS


def test_the_hour_of_a_time_zone_is_that_of_utc_as_it_is_stored():
    times = pl.Series([datetime(2024, 1, 31, 8, tzinfo=UTC)]).dt.convert_time_zone("Asia/Tokyo")
    assert parts_of(times)["hour"].to_list() == [8]


def test_only_parts_that_differ_become_columns():
    table = pl.DataFrame({"day": DAYS, "day_month": [1, 2, 3, 4], "size": [1.0, 2.0, 3.0, 4.0]})
    (info,) = fit_dates(table, ["day", "day_month", "size"])
    assert info == DateInfo(
        name="day",
        parts={"year": "day_year", "month": "day_month_", "weekday": "day_weekday", "day_of_year": "day_day_of_year"},
    )
    parts = with_parts([info], table)
    assert parts["day_month_"].to_list() == [1, 2, 12, 2]
    assert parts["day_weekday"].to_list() == [3, 4, 1, 4]
    assert in_parts(("size", "day"), [info]) == ("size", *info.parts.values())
    assert date_columns([info])["day_month_"] == "day"
    same_day = table.with_columns(day=pl.lit(date(2024, 1, 1)))
    assert fit_dates(same_day, ["day"]) == (DateInfo(name="day", parts={}),)


@pytest.mark.parametrize(
    "values",
    [
        ["31.01.2024", "29.02.2024"],
        ["2024-13-01", "2024-02-30"],
        ["2024-01", "2024-02"],
        ["red", "blue"],
        [20240131, 20240229],
        [1.5, 2.5],
        [None, None],
        ["2024-01-31", *["red"] * 3],
    ],
)
def test_what_is_no_date_is_left_alone(values):
    column = pl.Series("day", values)
    assert not holds_dates(column)
    assert fit_dates(column.to_frame(), ["day"]) == ()


def test_a_column_without_any_date_is_left_to_the_message_about_empty_columns():
    assert not holds_dates(pl.Series("day", [None, None], pl.Date))


def test_few_texts_that_are_no_dates_are_missing_where_the_fitted_rows_had_such():
    column = pl.Series("day", [*DAYS * 10, "soon", None])
    assert holds_dates(column)
    assert undated(column).to_list() == ["soon"]
    (info,) = fit_dates(column.to_frame(), ["day"])
    assert info.lenient
    info.check(pl.Series("day", ["later"]))
    assert info.apply(pl.Series("day", ["later", "2024-01-01", None]))[0].to_list() == [None, 2024, None]
    (strict,) = fit_dates(pl.DataFrame({"day": DAYS}), ["day"])
    strict.check(pl.Series("day", ["2024-01-01", None]))
    with pytest.raises(DataError, match=r"column 'day': 2 values are no dates, such as '1\.2\.2024', 'later'; write"):
        strict.check(pl.Series("day", ["1.2.2024", "later", "2024-01-01"]))


def test_numbers_in_place_of_dates_are_refused_and_nothing_at_all_is_missing():
    (info,) = fit_dates(pl.DataFrame({"day": DAYS}), ["day"])
    with pytest.raises(DataError, match="column 'day': holds Int64; expected dates, or texts such as 2024-01-31"):
        info.apply(pl.Series("day", [1, 2]))
    assert info.apply(pl.Series("day", [None, None]))[0].to_list() == [None, None]


def test_a_column_of_dates_in_another_form_is_no_column_of_gaps():
    """Where train has a few texts that are no dates, all dates of new data in another form would count as missing."""
    (info,) = fit_dates(pl.DataFrame({"day": [*DAYS * 10, "unknown"]}), ["day"])
    info.check(pl.Series("day", ["unknown"] * 9))
    info.check(pl.Series("day", [*DAYS * 5, *["unknown"] * 10]))
    with pytest.raises(DataError, match=r"column 'day': 12 values are no dates, such as '31\.1\.2024'; write them as"):
        info.check(pl.Series("day", ["31.1.2024"] * 12))
    assert info.notes(pl.Series("day", ["31.1.2024", "2024-01-31"])) == [
        "column 'day': 1 value is no date, such as '31.1.2024'; such values count as missing"
    ]
    assert info.notes(pl.Series("day", DAYS)) == []


def test_days_without_times_are_not_taken_for_midnight_in_silence():
    (info,) = fit_dates(pl.DataFrame({"day": ["2024-01-31T08:15", "2024-02-01T09:15"]}), ["day"])
    info.check(pl.Series("day", TIMES))
    info.check(pl.Series("day", [None], pl.Date))
    with pytest.raises(DataError, match="column 'day': holds days without times, but the fitted rows differ in their"):
        info.check(pl.Series("day", [date(2024, 1, 31)]))
    (note,) = info.notes(pl.Series("day", ["2024-01-31", None]))
    assert note == "column 'day': no value has a time of day, which the fitted rows had; all count as midnight"
    assert info.notes(pl.Series("day", ["2024-01-31", "2024-01-31T00:00"])) == []
    (daily,) = fit_dates(pl.DataFrame({"day": DAYS}), ["day"])
    daily.check(pl.Series("day", [date(2024, 1, 31)]))
    assert daily.notes(pl.Series("day", DAYS)) == []


def test_a_date_beyond_the_calendar_is_missing_in_all_its_parts():
    parts = parts_of(pl.Series("day", [2**31 - 1, 0], pl.Int32).cast(pl.Date))
    assert parts.rows() == [(None,) * 5, (1970, 1, 4, 1, 0)]


WRITTEN, IN_UTC = (
    ["2024-01-31T08:15+01:00", "2024-07-31 09:15:00+0200"],
    ["2024-01-31T07:15Z", "2024-07-31T07:15+00:00"],
)
WITH_ZONE = pl.Series("day", [each.replace(tzinfo=UTC) for each in TIMES]).dt.convert_time_zone("Europe/Berlin")


@pytest.mark.parametrize(
    ("values", "zone"),
    [
        (pl.Series("day", TIMES), None),
        (WITH_ZONE, "utc"),
        (pl.Series("day", ["2024-01-31T08:15", None, "soon +01:00"]), None),
        (pl.Series("day", IN_UTC), None),
        (pl.Series("day", WRITTEN), "offset"),
        (pl.Series("day", ["2024-01-31T08:15", "2024-01-31T08:15+00:30"]), "offset"),
        (pl.Series("day", ["2024-01-31T08:15-10:00"]), "offset"),
        (pl.Series("day", [1]), None),
    ],
)
def test_a_column_tells_of_time_zones_by_its_type_or_by_offsets(values, zone):
    assert zone_of(values) == zone


def test_times_that_would_be_read_in_another_time_zone_than_the_fitted_ones_are_refused():
    """A table of times with a zone, written as CSV, has local hours; the same hours in UTC were fitted."""
    (typed,) = fit_dates(WITH_ZONE.to_frame(), ["day"])
    (written,) = fit_dates(pl.DataFrame({"day": WRITTEN}), ["day"])
    assert (typed.zone, written.zone) == ("utc", "offset")
    with pytest.raises(DataError, match=r"column 'day': texts such as .* are read as written, but the times of the"):
        typed.check(pl.Series("day", WRITTEN))
    with pytest.raises(DataError, match="column 'day': times of a column with a time zone are read in UTC, but"):
        written.check(WITH_ZONE)
    for info in (typed, written, fit_dates(pl.DataFrame({"day": DAYS}), ["day"])[0]):
        info.check(pl.Series("day", TIMES))
        info.check(pl.Series("day", IN_UTC))
    typed.check(WITH_ZONE)
    written.check(pl.Series("day", WRITTEN))
