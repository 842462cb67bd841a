"""Hours of the week in a time zone.

A moment is turned into the zone's wall clock and looked up there, which is right across changes of
daylight-saving time: an hour that a day leaves out never comes, one that it has twice counts twice.

A span over midnight belongs to the weekday on which it begins: Friday's 22:00-06:00 ends on
Saturday.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from dialgate.policy.keys import Answer, Situation

__all__ = ["ALL_DAY", "WEEKDAYS", "Hours", "Span", "parse_span"]

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a day, in minutes after midnight: `begin` belongs to it, `end` doesn't."""

    begin: int
    end: int
    """Not after `begin`: on the next day."""

    def __str__(self) -> str:
        return f"{_clock(self.begin)}-{_clock(self.end)}"

    def day(self, weekday: int, minute: int) -> int | None:
        """Return the weekday whose span covers a moment; None if none does.

        Args:
            weekday: 0 is Monday.
            minute: after midnight.
        """
        if self.begin < self.end:
            return weekday if self.begin <= minute < self.end else None
        if minute >= self.begin:
            return weekday
        return (weekday - 1) % 7 if minute < self.end else None


ALL_DAY: Final = Span(0, MINUTES_A_DAY)


@dataclass(frozen=True, slots=True)
class Hours:
    """It must be one of these hours, on one of these weekdays."""

    spans: tuple[Span, ...]
    weekdays: frozenset[int]
    """0 is Monday."""
    zone: tzinfo
    zone_name: str

    def judge(self, situation: Situation) -> Answer:
        """Return YES or NO: what time it is, is always known."""
        return Answer.YES if self._days(situation) & self.weekdays else Answer.NO

    def explain(self, situation: Situation) -> str:
        """Return hours and weekdays, and what time it is there; first the key that fails."""
        local = situation.at.astimezone(self.zone)
        it_is = f"and it is {WEEKDAYS[local.weekday()]} {local:%H:%M} in {self.zone_name}"
        if not self._days(situation):
            return f"hours: {' or '.join(map(str, self.spans))}, {it_is}"
        days = " or ".join(WEEKDAYS[day] for day in sorted(self.weekdays))
        return f"weekdays: {days}, {it_is}"

    def _days(self, situation: Situation) -> set[int]:
        """Return the weekdays of the spans that cover the moment."""
        local = situation.at.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        days = {span.day(local.weekday(), minute) for span in self.spans}
        return {day for day in days if day is not None}


def parse_span(text: str) -> Span:
    """Return the span written as "08:00-17:00"; the end may be "24:00"."""
    begin, _, end = text.partition("-")
    return Span(_minutes(begin), _minutes(end))


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
