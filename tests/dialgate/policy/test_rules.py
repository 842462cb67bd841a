"""Which rule decides: every key by itself, then all together under any order of learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dialgate.policy import (
    ALL_DAY,
    Answer,
    Patterns,
    Roles,
    Rule,
    Situation,
    Span,
    choose,
    choose_door,
)
from dialgate.settings import PolicySettings

SUNDAY_NOON: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CALL: Final = Situation(
    site="oslo", hport="oslo/1", caller="+4722334455", called="5550100", at=SUNDAY_NOON
)
ANN: Final = replace(CALL, user="ann", roles=frozenset({"engineer"}))


def rule(**keys: Any) -> Rule:
    return PolicySettings(authenticators=("local",), **keys).rule()


@pytest.mark.parametrize(
    ("keys", "situation"),
    [
        pytest.param({}, CALL, id="no key"),
        pytest.param({"sites": ("bergen", "os*")}, CALL, id="sites"),
        pytest.param({"ports": ("oslo/[1-4]",)}, CALL, id="ports"),
        pytest.param({"callers": ("+47*",)}, CALL, id="callers"),
        pytest.param({"callers": ("*",)}, replace(CALL, caller=""), id="any caller, no number"),
        pytest.param({"called": ("5550100",)}, CALL, id="called"),
        pytest.param({"hours": ("08:00-17:00",)}, CALL, id="hours"),
        pytest.param({"weekdays": ("sat", "sun")}, CALL, id="weekdays"),
        pytest.param({"hours": ("20:00-22:00",), "time_zone": "Asia/Tokyo"}, CALL, id="time zone"),
        pytest.param({"users": ("bob", "a*")}, ANN, id="users"),
        pytest.param({"roles": ("admin", "engineer")}, ANN, id="roles"),
    ],
)
def test_a_rule_matches_when_every_key_does(keys: dict[str, Any], situation: Situation) -> None:
    assert rule(**keys).judge(situation) is Answer.YES
    assert rule(**keys).reasons(situation) == []


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        pytest.param({"sites": ("bergen",)}, 'sites: bergen, and it is "oslo"', id="sites"),
        pytest.param({"ports": ("oslo/2",)}, 'ports: oslo/2, and it is "oslo/1"', id="ports"),
        pytest.param(
            {"callers": ("+46*", "+45*")},
            'callers: +46* or +45*, and it is "+4722334455"',
            id="callers",
        ),
        pytest.param({"called": ("555",)}, 'called: 555, and it is "5550100"', id="called"),
        pytest.param(
            {"hours": ("08:00-11:00", "13:00-17:00")},
            "hours: 08:00-11:00 or 13:00-17:00, and it is sun 12:00 in UTC",
            id="hours",
        ),
        pytest.param(
            {"weekdays": ("mon", "fri"), "time_zone": "Europe/Oslo"},
            "weekdays: mon or fri, and it is sun 13:00 in Europe/Oslo",
            id="weekdays",
        ),
        pytest.param({"users": ("bob",)}, 'users: bob, and it is "ann"', id="users"),
        pytest.param({"roles": ("admin",)}, "roles: admin, and his are engineer", id="roles"),
    ],
)
def test_one_key_that_fails_rules_the_policy_out_and_is_named(
    keys: dict[str, Any], reason: str
) -> None:
    assert rule(**keys).judge(ANN) is Answer.NO
    assert rule(**keys).reasons(ANN) == [reason]


def test_a_call_without_a_number_matches_no_pattern_of_numbers() -> None:
    nobody = replace(CALL, caller="")

    assert rule(callers=("+47*",)).judge(nobody) is Answer.NO
    assert rule(callers=("+47*",)).reasons(nobody) == ["callers: +47*, and it is not given"]


@pytest.mark.parametrize("keys", [{"users": ("ann",)}, {"roles": ("engineer",)}])
def test_users_and_roles_are_open_until_they_are_known(keys: dict[str, Any]) -> None:
    assert rule(**keys).judge(CALL) is Answer.OPEN
    assert "not known yet" in rule(**keys).reasons(CALL)[0]
    assert rule(**keys).judge(ANN) is Answer.YES


def test_a_key_that_fails_outweighs_one_that_is_open() -> None:
    assert rule(sites=("bergen",), users=("ann",)).judge(CALL) is Answer.NO


def test_the_first_rule_that_nothing_rules_out_is_chosen() -> None:
    rules = [rule(sites=("bergen",)), rule(roles=("admin",)), rule()]

    assert choose(rules, CALL) == 1  # Open: perhaps it is an admin.
    assert choose(rules, ANN) == 2
    assert choose(rules[:1], CALL) is None


def test_at_the_door_stands_the_first_rule_that_is_for_everybody() -> None:
    rules = [rule(users=("glass",)), rule(sites=("bergen",)), rule(), rule(sites=("oslo",))]

    assert choose_door(rules, CALL) == 2
    assert choose_door(rules[:2], CALL) == 0  # If there is none, one that may match.
    assert choose_door(rules[1:2], CALL) is None


WORDS: Final = st.sampled_from(["a", "b", "c"])
PATTERNS: Final = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=2).map(tuple)
POLICIES: Final = st.lists(
    st.builds(
        PolicySettings,
        authenticators=st.just(("local",)),
        sites=PATTERNS,
        callers=PATTERNS,
        hours=st.sampled_from([(), ("08:00-17:00",), ("22:00-06:00",)]),
        weekdays=st.sampled_from([(), ("mon",), ("sat", "sun")]),
        users=st.sampled_from([(), ("a",), ("b", "c")]),
        roles=st.sampled_from([(), ("a",), ("b", "c")]),
    ),
    max_size=6,
)
SITUATIONS: Final = st.builds(
    Situation,
    site=WORDS,
    hport=WORDS,
    caller=WORDS | st.just(""),
    called=WORDS,
    at=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    user=WORDS,
    roles=st.frozensets(WORDS),
)


@given(policies=POLICIES, known=SITUATIONS)
def test_what_becomes_known_only_moves_the_choice_down_the_list(
    policies: list[PolicySettings], known: Situation
) -> None:
    rules = [policy.rule() for policy in policies]
    stages = (replace(known, user=None, roles=None), replace(known, roles=None), known)

    choices = [choose(rules, stage) for stage in stages]

    places = [len(rules) if choice is None else choice for choice in choices]
    assert places == sorted(places)


def expected_choice(policies: Sequence[PolicySettings], known: Situation) -> int | None:
    """The model: keys compared one by one, without any of the code under test."""
    day, clock = known.at.weekday(), f"{known.at:%H:%M}"

    def is_in_time(policy: PolicySettings) -> bool:
        week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
        wanted = {week.index(name) for name in policy.weekdays or week}
        match policy.hours:
            case ("08:00-17:00",):
                return "08:00" <= clock < "17:00" and day in wanted
            case ("22:00-06:00",):
                yesterday = (day + 6) % 7
                return (clock >= "22:00" and day in wanted) or (
                    clock < "06:00" and yesterday in wanted
                )
            case _:
                return day in wanted

    return next(
        (
            index
            for index, policy in enumerate(policies)
            if ("*" in policy.sites or known.site in policy.sites)
            and ("*" in policy.callers or known.caller in policy.callers)
            and is_in_time(policy)
            and (not policy.users or known.user in policy.users)
            and (not policy.roles or (known.roles is not None and known.roles & set(policy.roles)))
        ),
        None,
    )


def agrees_with_the_model(policies: list[PolicySettings], known: Situation) -> None:
    rules = [policy.rule() for policy in policies]

    assert choose(rules, known) == expected_choice(policies, known)
    assert all((rule.reasons(known) == []) is (rule.judge(known) is Answer.YES) for rule in rules)


@given(policies=POLICIES, known=SITUATIONS)
def test_once_all_is_known_the_choice_is_the_first_policy_whose_keys_all_match(
    policies: list[PolicySettings], known: Situation
) -> None:
    agrees_with_the_model(policies, known)


def night_of_the_day_it_ends(span: Span, weekday: int, minute: int) -> int | None:
    covers = (minute - span.begin) % 1440 < (span.end - span.begin) % 1440 or span == ALL_DAY
    return weekday if covers else None


def any_key_is_enough(rule: Rule, situation: Situation) -> Answer:
    answers = {key.judge(situation) for key in rule.keys}
    return Answer.YES if not answers or Answer.YES in answers else Answer.NO


def every_role_is_needed(key: Roles, situation: Situation) -> Answer:
    return Answer.YES if key.roles <= (situation.roles or frozenset()) else Answer.NO


def no_number_is_any_number(key: Patterns, situation: Situation) -> Answer:
    value = getattr(situation, key.fact)
    return Answer.YES if not value or value in key.patterns else Answer.NO


@pytest.mark.parametrize(
    ("where", "method", "bug"),
    [
        (Span, "day", night_of_the_day_it_ends),
        (Rule, "judge", any_key_is_enough),
        (Roles, "judge", every_role_is_needed),
        (Patterns, "judge", no_number_is_any_number),
    ],
)
def test_a_planted_bug_is_found(
    where: type, method: str, bug: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    hunt = settings(
        max_examples=1000,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
    )(given(policies=POLICIES, known=SITUATIONS)(agrees_with_the_model))
    monkeypatch.setattr(where, method, bug)

    with pytest.raises(AssertionError):
        hunt()
