"""`[[policies]]`: which callers are asked what, and what they get."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from dialgate.policy import ALL_DAY, WEEKDAYS, Chain, Hours, Key, Patterns, Roles, Rule, parse_span
from dialgate.settings.kinds import Choices, Glob, Label, Name, Text, Timeout

__all__ = ["PolicySettings"]

Patterns256 = Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=256)]
HourSpan = Annotated[
    str,
    Meta(
        pattern=r"\A([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z",
        description='hours as "08:00-17:00"',
    ),
]
UserGlob = Annotated[
    str, Meta(min_length=1, max_length=256, description="a pattern of 1 to 256 characters")
]


class PolicySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom a policy is for, what they are asked, and what they get.

    Policies are looked at in the order of the file, and the first of which every key matches
    decides; [policy.md](policy.md) tells how, and when users and roles are known.
    """

    name: Label = ""
    """What logs and `dialgate policy explain` call it. Empty: its number in the file."""
    preset: Literal["", "rfc2196", "nist", "pci", "nerc"] = ""
    """Defaults that a text asks for, here and in `[lockout]` and `[passwords]`: see
    [policy.md](policy.md#presets). Keys that the file gives win."""
    sites: Patterns256 = ("*",)
    """Patterns of sites."""
    ports: Patterns256 = ("*",)
    """Patterns of ports (HPORT)."""
    callers: Patterns256 = ("*",)
    """Patterns of the number that calls; only `*` matches a call without one."""
    called: Patterns256 = ("*",)
    """Patterns of the number that was called (`number` of the port)."""
    hours: Annotated[tuple[HourSpan, ...], Meta(max_length=32)] = ()
    """Hours of the day, as `"08:00-17:00"`; `"22:00-06:00"` ends on the next day and belongs to the
    weekday on which it begins. Empty: at all hours."""
    weekdays: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Meta(max_length=7)
    ] = ()
    """Days of the week. Empty: on all."""
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    """Where `hours` and `weekdays` are read, as `Europe/Oslo`; daylight-saving time included."""
    users: Annotated[tuple[UserGlob, ...], Meta(max_length=256)] = ()
    """Patterns of user names. Empty: everybody."""
    roles: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    """Users with one of these roles. Empty: everybody."""
    required_callers: Annotated[tuple[Glob, ...], Meta(max_length=256)] = ()
    """Patterns of numbers from which these users must call; anybody else is refused. Empty: any.
    Caller id can be forged, so this is never the only check."""
    authenticators: Choices
    """Names of authenticators, asked in this order."""
    chain: Chain = "fallback"
    """`fallback`: the first that can be asked decides. `first`: one that accepts is enough. `all`:
    each must accept, as a password and a one-time code."""
    break_glass: bool = False
    """These users are accounts for emergencies: each login is an alarm."""
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """Tries in one call; after the last the line is hung up."""
    login_timeout_s: Annotated[int, Meta(ge=1, le=600)] = 60
    """How long a caller may take for each answer."""
    retry_delay_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """Pause after a failed try."""
    banner: Text = ""
    """Shown before the first prompt."""
    login_prompt: Text = "login: "
    """Asks for the user's name."""
    password_prompt: Text = "Password: "  # noqa: S105 - a prompt
    """Asks for the password, which is not echoed."""
    refusal: Text = "Login incorrect"
    """Shown after a failed try: one text, whatever was wrong."""
    service: Label = ""
    """The service that these callers get. Empty: the port's own."""
    services: Annotated[tuple[Name, ...], Meta(max_length=32)] = ()
    """Services that these callers may choose from, by a menu if there are several. Empty:
    `service`."""
    role_services: dict[Name, Choices] = {}
    """Services that users of a role may choose, too: `role_services = { admin = ["shell"] }`."""
    service_prompt: Text = "Service: "
    """Asks for a service, by its number or name."""
    session_timeout_s: Timeout = 0
    """The longest that these callers may stay; 0: the service's own limit."""
    idle_timeout_s: Timeout = 0
    """The longest that their line may be silent; 0: the service's own limit."""
    sessions_max: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Sessions that each of these users may have at once, in the whole cluster; 0: no limit."""

    def matches(self, site: str, hport: str) -> bool:
        """Return whether this policy is for some caller of the port `hport` at `site`."""
        return any(fnmatchcase(site, glob) for glob in self.sites) and any(
            fnmatchcase(hport, glob) for glob in self.ports
        )

    def rule(self) -> Rule:
        """Return the conditions of this policy, those that exclude anybody."""
        of_the_call = (
            Patterns("sites", "site", self.sites),
            Patterns("ports", "hport", self.ports),
            Patterns("callers", "caller", self.callers),
            Patterns("called", "called", self.called),
        )
        keys: list[Key] = [key for key in of_the_call if "*" not in key.patterns]
        if self.hours or self.weekdays:
            spans = tuple(map(parse_span, self.hours)) or (ALL_DAY,)
            days = frozenset(map(WEEKDAYS.index, self.weekdays or WEEKDAYS))
            keys.append(Hours(spans, days, ZoneInfo(self.time_zone), self.time_zone))
        if self.users:
            keys.append(Patterns("users", "user", self.users))
        if self.roles:
            keys.append(Roles(frozenset(self.roles)))
        return Rule(tuple(keys))

    def requires_another_number(self, caller: str) -> bool:
        """Return whether who calls from `caller` (empty: no number) must be refused for that."""
        return bool(self.required_callers) and not any(
            caller and fnmatchcase(caller, glob) for glob in self.required_callers
        )

    def offers_a_service(self) -> bool:
        """Return whether users are given a choice of services, or the only one of it."""
        return bool(self.services or self.role_services)
