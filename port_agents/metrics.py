"""The agent's Prometheus metrics: every name, unit and label in one place (docs/metrics.md).

One collector reads the plain integers of the cores when Prometheus scrapes; nothing here costs in
between.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from dialgate.histogram import ANSWER_BOUNDS_S, Histogram
from dialgate.link import Link
from dialgate.metrics import build_info, counter, gauge, histogram
from port_agents.agent import Agent
from port_agents.call import Disconnect
from port_agents.counters import Again, AgentCounters, Drop
from port_agents.line_actions import LineState
from port_agents.port_history import IN_VAIN_MIN
from port_agents.spool import Spool

__all__ = ["AgentMetrics", "new_counters"]

_CLAIMS: Final = ("same", "other", "refused")
_OUTCOMES: Final = ("success", "failure", "error", "ended")
_LOSSES: Final = ("silence", "send failed", "bye", "no session at broker", "no welcome", "refused")
"""A link's reasons for the end of a session."""


def new_counters() -> AgentCounters:
    """Return the counters of an agent, with histograms that can be shown."""
    return AgentCounters(Histogram(ANSWER_BOUNDS_S), Histogram(ANSWER_BOUNDS_S))


class AgentMetrics(Collector):
    """Shows one agent.

    Args:
        agent: the core.
        site: of its ports.
        links: its links with brokers, by name.
        spool: where its records are kept.
        bytes_lost: how many bytes ports and services had no room for.
    """

    def __init__(
        self,
        agent: Agent,
        site: str,
        links: Mapping[str, Link],
        spool: Spool,
        bytes_lost: Callable[[], int],
    ) -> None:
        self._agent = agent
        self._site = site
        self._links = links
        self._spool = spool
        self._bytes_lost = bytes_lost

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield build_info("agent")
        yield from self._ports()
        yield from self._dialogs()
        yield from self._sessions()
        yield from self._records()

    def _ports(self) -> Iterator[Metric]:
        lines = self._agent.lines.values()
        states = Counter(line.state for line in lines)
        counters = self._agent.counters
        yield gauge(
            "dialgate_ports",
            "Ports by site and state, as their agent sees them.",
            ["site", "state"],
            [((self._site, state.value), states[state]) for state in LineState],
        )
        yield counter(
            "dialgate_agent_calls_total",
            "Calls that are over, by disconnect reason.",
            ["outcome"],
            [((reason.value,), counters.calls[reason]) for reason in Disconnect],
        )
        totals = [line.history.counters for line in lines]
        yield counter(
            "dialgate_agent_poor_calls_total",
            "Calls that point at a bad line, by kind; one may be both silent and short.",
            ["kind"],
            [
                (("unanswered",), sum(x.unanswered for x in totals)),
                (("no carrier",), sum(x.no_carriers for x in totals)),
                (("silent",), sum(x.silent for x in totals)),
                (("short",), sum(x.short for x in totals)),
            ],
        )
        yield gauge(
            "dialgate_agent_ports_in_vain",
            f"Ports whose last {IN_VAIN_MIN} answers or more led to no connection or not one byte.",
            ["site"],
            [((self._site,), sum(x.in_vain >= IN_VAIN_MIN for x in totals))],
        )
        yield counter(
            "dialgate_agent_modem_faults_total",
            "Times that a modem could not be made ready.",
            [],
            [((), sum(line.modem.counters.faults for line in lines))],
        )
        yield counter(
            "dialgate_agent_service_users_total",
            "Users that services named: the one admitted, another, or refused unheard.",
            ["outcome"],
            [((outcome,), counters.service_users[outcome]) for outcome in _CLAIMS],
        )
        yield counter(
            "dialgate_agent_bytes_lost_total",
            "Bytes of callers, modems and services that found no room.",
            [],
            [((), self._bytes_lost())],
        )

    def _dialogs(self) -> Iterator[Metric]:
        counters = self._agent.counters
        yield counter(
            "dialgate_agent_dialogs_total",
            "Dialogs closed, by verdict; ended: before there was one.",
            ["outcome"],
            [((outcome,), counters.dialogs[outcome]) for outcome in _OUTCOMES],
        )
        yield counter(
            "dialgate_agent_begins_total",
            "BEGINs sent.",
            [],
            [((), counters.begins)],
        )
        yield counter(
            "dialgate_agent_begun_again_total",
            "Dialogs begun again with the next attempt, by cause.",
            ["cause"],
            [((cause.value,), counters.begun_again[cause]) for cause in Again],
        )
        dropped: dict[str, int] = {str(reason): number for reason, number in counters.drops.items()}
        by_links = [link.session.drops for link in self._links.values()]
        yield counter(
            "dialgate_agent_drops_total",
            "Messages of brokers that changed nothing, by reason.",
            ["reason"],
            _sums([reason.value for reason in Drop], [dropped, *by_links]),
        )
        for name, documentation, durations in (
            (
                "dialgate_agent_begin_to_prompt_seconds",
                "From a dialog's first BEGIN to its first prompt.",
                counters.begin_to_prompt,
            ),
            (
                "dialgate_agent_end_to_reply_seconds",
                "From END to END_REPLY.",
                counters.end_to_reply,
            ),
        ):
            assert isinstance(durations, Histogram), "made by new_counters"
            yield histogram(name, documentation, "", {"": durations})

    def _sessions(self) -> Iterator[Metric]:
        links = self._links.values()
        yield gauge(
            "dialgate_agent_home",
            "1 while the agent has a session with a broker that its calls go by.",
            [],
            [((), int(self._agent.brokers.home is not None))],
        )
        yield gauge(
            "dialgate_agent_home_local",
            "1 while that broker is one on the site's own machine, as no other answers.",
            [],
            [((), int(self._agent.brokers.is_home_local))],
        )
        yield counter(
            "dialgate_agent_local_admissions_total",
            "Callers admitted by a worker at the site's own broker.",
            ["site"],
            [((self._site,), self._agent.counters.local_admissions)],
        )
        admitted_at = self._agent.counters.local_admitted_at
        ago_s = 0.0 if admitted_at is None else time.monotonic() - admitted_at
        yield gauge(
            "dialgate_agent_local_admission_timestamp_seconds",
            "When the last of them was, since 1970; no sample: there was none.",
            ["site"],
            [] if admitted_at is None else [((self._site,), time.time() - ago_s)],
        )
        yield counter(
            "dialgate_agent_session_losses_total",
            "Sessions with brokers that ended or never opened, by reason.",
            ["reason"],
            _sums(_LOSSES, [link.session.losses for link in links]),
        )
        yield counter(
            "dialgate_agent_frames_received_total",
            "Frames from brokers.",
            [],
            [((), sum(link.frames_in for link in links))],
        )
        yield counter(
            "dialgate_agent_frames_sent_total",
            "Frames to brokers.",
            [],
            [((), sum(link.frames_out for link in links))],
        )

    def _records(self) -> Iterator[Metric]:
        counters = self._spool.counters
        yield gauge(
            "dialgate_agent_spool_records",
            "Records of calls in the spool's file.",
            [],
            [((), self._spool.records)],
        )
        yield gauge(
            "dialgate_agent_spool_limit",
            "Records of calls that the spool's file may hold.",
            [],
            [((), self._spool.records_max)],
        )
        yield gauge(
            "dialgate_agent_records_unstored",
            "Records of calls that no broker has stored yet.",
            [],
            [((), self._spool.unstored)],
        )
        yield gauge(
            "dialgate_agent_records_overdue",
            "1 while records that were sent to a broker are not stored in time.",
            [],
            [((), int(self._agent.records.is_overdue))],
        )
        yield gauge(
            "dialgate_agent_spool_failing",
            "1 while the spool can't be written.",
            [],
            [((), int(self._spool.is_failing))],
        )
        yield gauge(
            "dialgate_agent_spool_waiting",
            "Records that are not on the disk yet.",
            [],
            [((), self._spool.waiting)],
        )
        yield counter(
            "dialgate_agent_records_total",
            "Records of calls, by what became of them.",
            ["outcome"],
            [
                (("kept",), counters.records_kept),
                (("refused",), counters.records_refused),
                (("doubled",), counters.records_doubled),
            ],
        )
        yield counter(
            "dialgate_agent_spool_errors_total",
            "Transactions on the spool that failed; they are tried again.",
            [],
            [((), counters.write_errors)],
        )


def _sums(
    reasons: Sequence[str], tables: Sequence[Mapping[str, int]]
) -> list[tuple[tuple[str], int]]:
    """Return the sum over `tables` for each of `reasons` and whatever else they hold."""
    every = dict.fromkeys([*reasons, *(reason for table in tables for reason in table)])
    return [((reason,), sum(table.get(reason, 0) for table in tables)) for reason in every]
