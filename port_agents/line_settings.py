"""What a port's line needs of the configuration.

Pure: the file's words in, the core's words out.
"""

from __future__ import annotations

from dialgate.settings import PortSettings, Settings, model_of, require
from port_agents.line_actions import LineSettings, ServiceLimits
from port_agents.modem_actions import ModemSettings

__all__ = ["line_settings"]


def line_settings(settings: Settings, port: PortSettings) -> LineSettings:
    """Return the settings of a port's line."""
    agent = require(settings, "agent")
    return LineSettings(
        hport=port.hport,
        site=agent.site,
        agent=agent.name,
        device=port.device,
        called=port.number,
        service=port.service,
        services={
            name: ServiceLimits(
                service.session_timeout_s,
                service.idle_timeout_s,
                is_direct=service.direct,
                is_raw=service.raw,
            )
            for name, service in settings.services.items()
        },
        modem=_modem_settings(settings, port),
        is_direct=not port.modem,
        ppp_service=port.ppp,
        silence_timeout_s=port.silence_timeout_s,
        when_down=port.when_down,
        parity_strip=port.parity_strip,
        dialog_max_s=agent.dialog_max_s,
        last_word_timeout_s=agent.last_word_timeout_s,
        interim_s=agent.interim_s,
    )


def _modem_settings(settings: Settings, port: PortSettings) -> ModemSettings:
    model = model_of(port, settings.models)
    assert model is not None, "a model that is not known is a fault of the file"
    init = port.init or model.init
    return ModemSettings(
        init=(*init, model.caller_id) if port.caller_id else init,
        answer=port.answer,
        rings=port.rings,
        dcd=port.dcd,
        dcd_debounce_ms=port.dcd_debounce_ms,
        probe_interval_s=port.probe_interval_s,
        has_hook=bool(port.hook),
        hook_timeout_s=port.hook_timeout_s,
        hangup=port.hangup or model.hangup,
        caller_id_wait_ms=port.caller_id_wait_ms,
        answer_timeout_s=port.answer_timeout_s,
        escape_guard_ms=port.escape_guard_ms,
        refused_callers=require(settings, "agent").refused_callers,
    )
