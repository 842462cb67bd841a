"""Hand an admitted caller over: choose the kind of service, and say who the caller is.

A shell.  Who is admitted, to what and for how long is decided before (`line`); what is here starts
it and is not the relay: bytes, idle time and carrier stay the agent's.

Invariant: a program's environment is made here alone; nothing of the agent's own gets into it, and
no value in it has a control character.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from dialgate.settings.agent import ServiceSettings
from dialgate.settings.endpoints import parse_console
from port_agents.command import start_command
from port_agents.console import connect_console
from port_agents.device import Device
from port_agents.direct import Direct, start_direct
from port_agents.line_actions import Admission
from port_agents.serial_port import SerialPort
from port_agents.service_contract import Service, ServiceError, ServiceListener

__all__ = ["service_environment", "start_on_device", "start_service"]

DRAIN_S: Final = 2.0
"""How long the last words before a direct hand-over may take to leave."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

NOBODY: Final[Mapping[str, str]] = {}
"""No contact: the program is not heard."""

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_NAME: Final = re.compile(r"[^A-Z0-9_]")


async def start_service(
    settings: ServiceSettings,
    admission: Admission,
    listener: ServiceListener,
    contact: Mapping[str, str] = NOBODY,
) -> Service:
    """Start what `settings` name for an admitted caller, to be relayed.

    Args:
        settings: the service's.
        admission: who the caller is.
        listener: who hears of the service.
        contact: variables that tell a program where to name its user.

    Raises:
        ServiceError: it can't be started, or not for this caller.
    """
    if settings.connect:
        console = parse_console(settings.connect)
        return await connect_console(
            console.host, console.port, settings.connect_timeout_s, listener
        )
    environment = {**service_environment(admission, settings.term), **contact}
    return start_command(settings.command, environment, listener, is_raw=settings.raw)


async def start_on_device(
    settings: ServiceSettings,
    admission: Admission,
    listener: ServiceListener,
    contact: Mapping[str, str],
    place: tuple[Device | None, str],
) -> Direct:
    """Give an admitted caller's service the device itself, once all that was said has left it.

    Args:
        settings: of a service that is direct.
        admission: who was admitted.
        listener: hears when the service ends.
        contact: variables that tell a program where to name its user.
        place: the port's device, which is lent and only looked at meanwhile, and its path.

    Raises:
        ServiceError: the device is none that can be lent, or the service can't be started.
    """
    environment = {**service_environment(admission, settings.term), **contact}
    device, path = place
    if not isinstance(device, SerialPort) or device.lines() is None:
        raise ServiceError(f"{settings.command[0]}: is direct, and {path} has no modem lines here")
    await device.drain(DRAIN_S)
    if device.closed:
        raise ServiceError(f"{settings.command[0]}: {path} is gone")
    descriptor = device.lend()
    try:
        return start_direct(settings.command, environment, path, descriptor, listener)
    except ServiceError:
        device.keep()
        raise


def service_environment(admission: Admission, term: str) -> dict[str, str]:
    """Return the whole environment of a program that an admitted caller is given to.

    Attributes that are text or numbers become DIALGATE_ATTR_NAME, in upper case.

    Raises:
        ServiceError: user or domain has a control character: without it, it could be another's.
    """
    for name in (admission.user, admission.domain):
        if _CONTROLS.search(name):
            raise ServiceError("the verdict's user or domain has control characters")
    return {
        "PATH": PATH,
        "TERM": term,
        "DIALGATE_USER": admission.user,
        "DIALGATE_DOMAIN": admission.domain,
        "DIALGATE_CALLER": _clean(admission.caller),
        "DIALGATE_SPEED": str(admission.connect_speed),
        "DIALGATE_HPORT": _clean(admission.hport),
        "DIALGATE_SITE": _clean(admission.site),
        "DIALGATE_CALL_ID": admission.call.hex(),
        **_attributes(admission.attributes),
    }


def _attributes(attributes: Mapping[str, object]) -> dict[str, str]:
    """Return the attributes as variables; of two that would have one name, the first stays."""
    variables: dict[str, str] = {}
    for name, value in attributes.items():
        if isinstance(value, str | int):
            variable = "DIALGATE_ATTR_" + _NO_NAME.sub("_", name.upper())
            variables.setdefault(variable, _clean(str(value)))
    return variables


def _clean(value: str) -> str:
    return _CONTROLS.sub("", value)
