"""Hours of the week on the wall clocks of places, over the days on which these are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.policy import Answer, Situation, Span, parse_span
from dialgate.settings import PolicySettings


def at(moment: str) -> Situation:
    return Situation("oslo", "oslo/1", "", "", at=datetime.fromisoformat(moment))


def matches(moment: str, **keys: Any) -> bool:
    rule = PolicySettings(authenticators=("local",), **keys).rule()
    return rule.judge(at(moment)) is Answer.YES


@pytest.mark.parametrize(
    ("clock", "inside"),
    [("07:59:59", False), ("08:00:00", True), ("16:59:59", True), ("17:00:00", False)],
)
def test_a_span_has_its_beginning_and_not_its_end(clock: str, inside: bool) -> None:
    assert matches(f"2026-11-23T{clock}+00:00", hours=("08:00-17:00",)) is inside


def test_a_span_to_midnight_has_the_days_last_minute() -> None:
    assert matches("2026-11-23T23:59:59+00:00", hours=("22:00-24:00",))
    assert not matches("2026-11-24T00:00:00+00:00", hours=("22:00-24:00",))


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        pytest.param("2026-11-20T21:59:00+00:00", False, id="Friday, before"),
        pytest.param("2026-11-20T22:00:00+00:00", True, id="Friday night"),
        pytest.param("2026-11-21T05:59:00+00:00", True, id="Saturday morning, Friday's night"),
        pytest.param("2026-11-21T06:00:00+00:00", False, id="Saturday, after"),
        pytest.param("2026-11-21T23:00:00+00:00", False, id="Saturday night"),
        pytest.param("2026-11-20T03:00:00+00:00", False, id="Friday morning, Thursday's night"),
    ],
)
def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins(
    moment: str, inside: bool
) -> None:
    assert matches(moment, hours=("22:00-06:00",), weekdays=("fri",)) is inside


def test_the_night_of_sunday_ends_on_monday() -> None:
    assert matches("2026-11-23T01:00:00+00:00", hours=("22:00-06:00",), weekdays=("sun",))


def test_the_weekday_is_that_of_the_place() -> None:
    """Sunday 22:30 in UTC is Monday morning in Tokyo."""
    keys = {"weekdays": ("mon",), "hours": ("07:00-08:00",), "time_zone": "Asia/Tokyo"}
    assert matches("2026-11-22T22:30:00+00:00", **keys)
    assert not matches("2026-11-22T22:30:00+00:00", **{**keys, "time_zone": "UTC"})


def test_office_hours_stay_office_hours_when_summer_time_begins() -> None:
    """Oslo, 29 March 2026: 08:00 is 07:00 UTC in winter, 06:00 UTC in summer."""
    keys = {"hours": ("08:00-17:00",), "time_zone": "Europe/Oslo"}
    assert not matches("2026-03-27T06:30:00+00:00", **keys)
    assert matches("2026-03-27T07:30:00+00:00", **keys)
    assert matches("2026-03-30T06:30:00+00:00", **keys)
    assert not matches("2026-03-30T15:00:00+00:00", **keys)


def test_the_hour_that_spring_leaves_out_never_comes() -> None:
    """Oslo goes from 01:59:59 to 03:00 on 29 March 2026, at 01:00 UTC."""
    keys = {"hours": ("02:00-03:00",), "time_zone": "Europe/Oslo"}
    day = datetime(2026, 3, 28, 23, tzinfo=UTC)
    minutes = [day + timedelta(minutes=minute) for minute in range(23 * 60)]
    assert not any(matches(moment.isoformat(), **keys) for moment in minutes)


def test_the_hour_that_autumn_has_twice_counts_twice() -> None:
    """Oslo goes from 02:59:59 back to 02:00 on 25 October 2026, at 01:00 UTC."""
    keys = {"hours": ("02:00-03:00",), "time_zone": "Europe/Oslo", "weekdays": ("sun",)}
    assert not matches("2026-10-24T23:59:00+00:00", **keys)
    assert matches("2026-10-25T00:30:00+00:00", **keys)
    assert matches("2026-10-25T01:30:00+00:00", **keys)
    assert not matches("2026-10-25T02:00:00+00:00", **keys)


def test_a_night_in_which_the_clock_changes_is_one_night() -> None:
    keys = {"hours": ("22:00-06:00",), "weekdays": ("sat",), "time_zone": "Europe/Oslo"}
    assert matches("2026-03-29T03:59:00+00:00", **keys)  # 05:59 in summer time.
    assert not matches("2026-03-29T04:00:00+00:00", **keys)
    assert matches("2026-10-25T04:59:00+00:00", **keys)  # 05:59 in winter time.
    assert not matches("2026-10-25T05:00:00+00:00", **keys)


@given(begin=st.integers(0, 1439), length=st.integers(1, 1439), minute=st.integers(0, 7 * 1440 - 1))
def test_a_span_covers_as_much_of_the_week_as_it_is_long(
    begin: int, length: int, minute: int
) -> None:
    """The model counts the minutes of the week from Monday's midnight on."""
    span = Span(begin, (begin + length) % 1440)
    weekday = span.day(minute // 1440, minute % 1440)

    expected = next(
        (day for day in range(7) if (minute - day * 1440 - begin) % (7 * 1440) < length), None
    )
    assert weekday == expected


@pytest.mark.parametrize("text", ["08:00-17:00", "22:30-06:05", "00:00-24:00"])
def test_a_span_is_shown_as_it_was_written(text: str) -> None:
    assert str(parse_span(text)) == text
