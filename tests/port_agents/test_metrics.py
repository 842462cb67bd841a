"""What an agent shows Prometheus: everything there from the start, and plain numbers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from port_agents.agent import Agent
from port_agents.brokers import Brokers
from port_agents.counters import Drop
from port_agents.metrics import AgentMetrics, new_counters
from port_agents.spool import Spool
from tests.port_agents.line_bench import SETTINGS


async def shown(directory: Path) -> str:
    counters = new_counters()
    agent = Agent(Brokers("oslo-1", ["a"]), [SETTINGS], counters, lambda: bytes(16))
    history = agent.lines[SETTINGS.hport].history.counters
    history.no_carriers, history.short, history.in_vain = 4, 9, 5
    counters.drops[Drop.NO_DIALOG] += 3
    counters.begin_to_prompt.observe(0.003)
    counters.local_admissions += 2
    counters.local_admitted_at = time.monotonic() - 60
    spool = await Spool.open(directory / "spool.db", lambda _text: None)
    registry = CollectorRegistry()
    registry.register(AgentMetrics(agent, "oslo", {}, spool, lambda: 7))
    try:
        return generate_latest(registry).decode()
    finally:
        await spool.close()


async def test_every_state_outcome_and_reason_is_there_from_the_start(tmp_path: Path) -> None:
    text = await shown(tmp_path)

    assert 'dialgate_ports{site="oslo",state="unknown"} 1.0' in text
    assert 'dialgate_ports{site="oslo",state="quarantined"} 0.0' in text
    assert 'dialgate_agent_calls_total{outcome="refused"} 0.0' in text
    assert 'dialgate_agent_dialogs_total{outcome="ended"} 0.0' in text
    assert 'dialgate_agent_drops_total{reason="after END"} 0.0' in text
    assert 'dialgate_agent_session_losses_total{reason="silence"} 0.0' in text


async def test_what_was_counted_is_shown(tmp_path: Path) -> None:
    text = await shown(tmp_path)

    assert 'dialgate_agent_drops_total{reason="dialog not open here"} 3.0' in text
    assert 'dialgate_agent_poor_calls_total{kind="unanswered"} 0.0' in text
    assert 'dialgate_agent_poor_calls_total{kind="no carrier"} 4.0' in text
    assert 'dialgate_agent_poor_calls_total{kind="short"} 9.0' in text
    assert 'dialgate_agent_ports_in_vain{site="oslo"} 1.0' in text
    assert "dialgate_agent_begin_to_prompt_seconds_count 1.0" in text
    assert "dialgate_agent_bytes_lost_total 7.0" in text
    assert "dialgate_agent_home 0.0" in text
    assert "dialgate_agent_home_local 0.0" in text
    assert 'dialgate_agent_local_admissions_total{site="oslo"} 2.0' in text
    name = 'dialgate_agent_local_admission_timestamp_seconds{site="oslo"} '
    when = float(text.partition(name)[2].partition("\n")[0])
    assert when == pytest.approx(time.time() - 60, abs=5)
