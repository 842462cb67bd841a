"""Which services a user may choose from, how they are shown, and what his answer chooses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

__all__ = ["chosen_service", "menu_text", "offered_services"]


def offered_services(
    everybody: Sequence[str], by_role: Mapping[str, Sequence[str]], roles: Collection[str]
) -> tuple[str, ...]:
    """Return the services for a user with `roles`, each once, in the order of the configuration.

    Args:
        everybody: what every user gets.
        by_role: what users of a role get beside that.
        roles: the user's.
    """
    offered = dict.fromkeys(everybody)
    for role, services in by_role.items():
        if role in roles:
            offered.update(dict.fromkeys(services))
    return tuple(offered)


def menu_text(services: Sequence[str]) -> str:
    """Return the menu, a numbered line a service."""
    width = len(str(len(services)))
    return "".join(f"{number:>{width + 2}}  {name}\n" for number, name in enumerate(services, 1))


def chosen_service(services: Sequence[str], answer: str) -> str | None:
    """Return the service whose number or name the caller has typed; None: there is none."""
    answer = answer.strip()
    if answer in services:
        return answer
    if answer.isascii() and answer.isdecimal() and 1 <= int(answer[:9]) <= len(services):
        return services[int(answer[:9]) - 1]
    return None
