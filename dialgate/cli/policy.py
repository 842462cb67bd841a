"""`dialgate policy`: which policy a call falls under, why, and what its caller will be asked.

It asks no caller and no authenticator: the very functions by which workers decide are played with
factors that all accept.  Only a local user's roles are looked up, where the state is at hand.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from dialgate.cli.table import add_output, duration, print_table
from dialgate.errors import StateError, UsageError
from dialgate.manual import add_config, new_parser
from dialgate.policy import (
    Outcome,
    Rule,
    Situation,
    choose,
    choose_door,
    next_step,
    offered_services,
)
from dialgate.settings import PolicySettings, Settings, load
from dialgate.state import open_state
from dialgate.text import printable
from dialgate.users import find_user

__all__ = ["run"]

_OTHERS: Final = {"fallback": "if it can't be asked", "first": "if it doesn't accept"}


def run(_command: str, arguments: Sequence[str]) -> int:
    """Explain one call; 1 when nobody would get in.

    Raises:
        DialgateError: the configuration has faults, or the options don't go together.
    """
    options = _parser().parse_args(arguments)
    settings = load(options.config)
    situation = _situation(options, settings)
    answer = explain(settings.policies, situation)
    if options.output == "json":
        print(json.dumps(answer, indent=2))
    else:
        _print(situation, answer)
    return 0 if answer["decides"] is not None else 1


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "policy",
        """
        Explains the policies of a configuration: for one call, which of them matches and which
        key of the others doesn't, and what its caller is asked, in order.

        What isn't given isn't known: without --user the call is at the door. The roles are those
        of --role, else the local user's in the cluster's state; nobody has vouched for any other
        user yet. Factors are taken to accept.
        """,
        examples=[
            "dialgate policy explain --site oslo --port oslo/1",
            "dialgate policy explain --port oslo/1 --user ann --role admin --at 2026-11-22T21:40",
        ],
        exit_status="0  a policy decides\n1  none does: nobody gets in\n2  wrong usage",
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    explains = acts.add_parser("explain", help="explain one call", description="Explain one call.")
    add_config(explains)
    add_output(explains)
    explains.add_argument("--site", metavar="SITE", help="default: the site of the file's agent")
    explains.add_argument("--port", required=True, metavar="HPORT", help="the port, as oslo/1")
    explains.add_argument("--caller", default="", metavar="NUMBER", help="default: none is given")
    explains.add_argument(
        "--called", metavar="NUMBER", help="default: the port's own, where the file has it"
    )
    explains.add_argument("--user", metavar="NAME", help="whom the caller says he is")
    explains.add_argument(
        "--role", action="append", metavar="ROLE", help="a role of the user; repeat for more"
    )
    explains.add_argument(
        "--at",
        type=_moment,
        default=None,
        metavar="TIME",
        help="as 2026-11-22T21:40, here, or with an offset as +01:00; default: now",
    )
    return parser


def _moment(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-11-22T21:40") from None
    moment = given.astimezone()
    # There and back again: an hour that is left out in spring comes back as another.
    if given.tzinfo is None and moment.astimezone(UTC).astimezone().replace(tzinfo=None) != given:
        what = f"{text!r} does not come here, as the clocks go forward: write it with an offset"
        raise argparse.ArgumentTypeError(what)
    return moment


def _situation(options: argparse.Namespace, settings: Settings) -> Situation:
    site = options.site or (settings.agent.site if settings.agent else "")
    if not site:
        raise UsageError("the file has no agent, so name the call's site with --site")
    if options.role and options.user is None:
        raise UsageError("roles are a user's: name him with --user")
    return Situation(
        site=site,
        hport=options.port,
        caller=options.caller,
        called=_number(settings, options.port) if options.called is None else options.called,
        at=options.at or datetime.now().astimezone(),
        user=options.user,
        roles=frozenset(options.role) if options.role else _local_roles(settings, options.user),
    )


def _local_roles(settings: Settings, user: str | None) -> frozenset[str] | None:
    """Return the roles of a local user; None: nobody knows them here.

    The state is not made if there is none, and one that can't be asked is as good as none.
    """
    url = settings.cluster.state
    is_file = url.startswith("sqlite:///")
    if user is None or (is_file and not Path(url.removeprefix("sqlite:///")).exists()):
        return None
    try:
        return asyncio.run(_roles_of(url, user))
    except StateError:
        return None


async def _roles_of(url: str, name: str) -> frozenset[str] | None:
    engine = await open_state(url)
    try:
        user = await find_user(engine, name)
    finally:
        await engine.dispose()
    return None if user is None else frozenset(user.roles)


def _number(settings: Settings, hport: str) -> str:
    """Return the number of a port that the file has."""
    ports = settings.agent.lines if settings.agent else ()
    return next((port.number for port in ports if port.hport == hport), "")


def explain(policies: Sequence[PolicySettings], situation: Situation) -> dict[str, Any]:
    """Return what is said of a call, in the words of the JSON answer."""
    rules = [policy.rule() for policy in policies]
    certain = next((n for n, rule in enumerate(rules) if not rule.reasons(situation)), len(rules))
    door = choose_door(rules, replace(situation, user=None, roles=None))
    decides = choose(rules, situation)
    asked = [] if door is None else _asked(policies, rules, door, situation)
    return {
        "policies": [
            {
                "place": place,
                "name": _name(policies, place),
                "matches": rule.judge(situation).value,
                "why": rule.reasons(situation)
                or [f"comes after {_name(policies, certain)}"] * (place > certain),
            }
            for place, rule in enumerate(rules)
        ],
        "door": _name(policies, door),
        "decides": _name(policies, decides),
        "asked": asked,
        "gets": None if decides is None else _gets(policies[decides], situation),
    }


def _name(policies: Sequence[PolicySettings], place: int | None) -> str | None:
    return None if place is None else policies[place].name or f"policies[{place}]"


def _asked(
    policies: Sequence[PolicySettings], rules: Sequence[Rule], door: int, situation: Situation
) -> list[str]:
    """Return what a caller is shown and asked, in order."""
    greeting = policies[door]
    asked = [f'shown: "{greeting.banner}"'] if greeting.banner else []
    asked.append(f'"{greeting.login_prompt}" for his name')
    said: dict[str, Outcome] = {}
    while True:
        known = situation if said else replace(situation, roles=None)
        place = choose(rules, known)
        policy = greeting if place is None else policies[place]
        step = next_step(policy.chain, policy.authenticators, said)
        if not isinstance(step, str):
            break
        asked.append(_factor(policy, step))
        said[step] = Outcome.ACCEPTED
    services = offered_services(policy.services, policy.role_services, situation.roles or ())
    if place is not None and len(services) > 1:
        asked.append(f'"{policy.service_prompt}" of the menu: {", ".join(services)}')
    return asked


def _factor(policy: PolicySettings, name: str) -> str:
    """Return who is asked, and who else if that one's word doesn't settle it."""
    others = policy.authenticators[policy.authenticators.index(name) + 1 :]
    if policy.chain == "all" or not others:
        return f"by the authenticator {name}"
    return f"by the authenticator {name}, {_OTHERS[policy.chain]} by {', then '.join(others)}"


def _gets(policy: PolicySettings, situation: Situation) -> dict[str, Any]:
    services = offered_services(policy.services, policy.role_services, situation.roles or ())
    return {
        "services": list(services) if policy.offers_a_service() else [policy.service],
        "session_timeout_s": policy.session_timeout_s,
        "idle_timeout_s": policy.idle_timeout_s,
        "refused_for_number": policy.requires_another_number(situation.caller),
        "break_glass": policy.break_glass,
    }


def _print(situation: Situation, answer: dict[str, Any]) -> None:
    who = "nobody has said who calls" if situation.user is None else f"user {situation.user}"
    roles = "" if situation.roles is None else f", roles {' '.join(sorted(situation.roles))}"
    caller = situation.caller or "no number"
    print(
        printable(
            f"{situation.at:%a %Y-%m-%d %H:%M %Z}: site {situation.site}, port {situation.hport}, "
            f"from {caller}, {who}{roles}"
        )
    )
    print()
    rows = [{**policy, "why": "; ".join(policy["why"])} for policy in answer["policies"]]
    print_table(rows, ("place", "name", "matches", "why"))
    print()
    if answer["decides"] is None:
        print("No policy decides, so nobody gets in.")
        return
    print(f"At the door:  {answer['door']}")
    is_open = any(
        row["name"] == answer["decides"] and row["matches"] == "open" for row in answer["policies"]
    )
    print(f"Decides:      {answer['decides']}{', unless what is open fails' if is_open else ''}")
    print("Asked, in order:")
    for number, line in enumerate(answer["asked"], 1):
        print(f"  {number}. {printable(line)}")
    print(f"Gets:         {_stay(answer['gets'])}")


def _stay(gets: dict[str, Any]) -> str:
    if gets["refused_for_number"]:
        return "nothing: he must call from one of required_callers"
    services = " or ".join(filter(None, gets["services"])) or (
        "the port's own service" if gets["services"] else "no service with these roles"
    )
    limits = [
        f"{word} at most {duration(gets[key])}"
        for word, key in (("stays", "session_timeout_s"), ("silent", "idle_timeout_s"))
        if gets[key]
    ]
    alarm = ["and an alarm is raised"] if gets["break_glass"] else []
    return ", ".join([services, *limits, *alarm])
