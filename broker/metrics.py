"""The broker's Prometheus metrics: every name, unit and label in one place.

Read at a scrape, on the event loop, from what the core and the loop around it count in plain
integers.  What a broker can't read it can't count: which verdict a COMPLETE brings, the workers
know.  Naming rules: dialgate.metrics; the list for operators: docs/metrics.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from math import inf
from typing import Final, Protocol, TypeVar, get_args, get_type_hints

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from broker.core import Broker
from broker.events import Feed
from broker.http import Operators
from broker.sessions import Over
from broker.view import View
from dialgate.histogram import Histogram
from dialgate.metrics import build_info, counter, gauge, histogram
from dialgate.wire.bodies import LineState
from dialgate.wire.verbs import FROM_AGENT, FROM_BROKER, FROM_WORKER, Role, Verb

__all__ = ["BrokerCollector", "Traffic"]

R = TypeVar("R", bound=str)
C = TypeVar("C", bound=str)

ROLES: Final = (Role.AGENT, Role.WORKER)
ALLOWED: Final = {Role.AGENT: FROM_AGENT, Role.WORKER: FROM_WORKER}
LINE_STATES: Final[Sequence[str]] = get_args(get_type_hints(LineState)["state"])


class Traffic(Protocol):
    """What broker.server counts."""

    frames_in: int
    frames_out: int
    messages_out: dict[Role, list[int]]
    """By role and verb."""
    multipart_drops: int
    empty_drops: int


class BrokerCollector(Collector):
    """Shows one broker.

    Args:
        broker: the core.
        traffic: the loop around it.
        view: what there is at the moment.
        operators: counts orders.
        feed: counts event streams.
        lag: how late the event loop is.
        queue_timeout_s: how long a dialog may wait for a worker.
    """

    def __init__(
        self,
        broker: Broker,
        traffic: Traffic,
        view: View,
        operators: Operators,
        feed: Feed,
        *,
        lag: Histogram,
        queue_timeout_s: float,
    ) -> None:
        self._broker = broker
        self._traffic = traffic
        self._view = view
        self._operators = operators
        self._feed = feed
        self._lag = lag
        self._queue_timeout_s = queue_timeout_s

    def collect(self) -> Iterator[Metric]:
        """Yield every family, in the order of docs/metrics.md."""
        yield build_info("broker")
        yield from self._peers()
        yield from self._messages()
        yield from self._dialogs()
        yield from self._lines()
        yield from self._own()

    def _peers(self) -> Iterator[Metric]:
        counts, agents, workers = (
            self._broker.counts,
            list(self._view.agent_sessions()),
            list(self._view.worker_sessions()),
        )
        here = {agent.name: agent.site for agent in agents}
        gone = {line.agent: line.site for line in self._view.lines()}
        load = self._broker.switchboard.entries.load
        yield gauge(
            "dialgate_broker_sessions",
            "Sessions with peers, by role.",
            ["role"],
            [(["agent"], len(agents)), (["worker"], len(workers))],
        )
        yield counter(
            "dialgate_broker_session_losses_total",
            "Sessions that ended, by role and why; bye and newer session are no fault.",
            ["role", "reason"],
            _grid(counts.sessions_over, ROLES, Over),
        )
        yield counter(
            "dialgate_broker_hellos_refused_total",
            "HELLOs that were refused, by role and code of winerror.h.",
            ["role", "code"],
            [([role, str(code)], number) for (role, code), number in counts.hellos_refused.items()],
        )
        yield counter(
            "dialgate_broker_names_contested_total",
            "HELLOs under a name that another process used.",
            [],
            [((), counts.names_contested)],
        )
        yield gauge(
            "dialgate_broker_agent_connected",
            "1 while the agent has a session here, 0 when one that listed ports here has none.",
            ["agent", "site"],
            [([name, site], int(name in here)) for name, site in {**gone, **here}.items()],
        )
        yield gauge(
            "dialgate_broker_worker_credit",
            "Dialogs that the worker would take at once.",
            ["worker"],
            [([worker.name], worker.room) for worker in workers],
        )
        yield gauge(
            "dialgate_broker_worker_dialogs",
            "Dialogs that the worker owns here.",
            ["worker"],
            [([worker.name], load(worker)) for worker in workers],
        )

    def _messages(self) -> Iterator[Metric]:
        traffic, counts = self._traffic, self._broker.counts
        yield counter(
            "dialgate_broker_frames_received_total",
            "Frames from peers, whatever was in them.",
            [],
            [((), traffic.frames_in)],
        )
        yield counter(
            "dialgate_broker_frames_sent_total",
            "Frames to peers.",
            [],
            [((), traffic.frames_out)],
        )
        yield counter(
            "dialgate_broker_messages_received_total",
            "Messages from peers with a session, by verb.",
            ["role", "verb"],
            [
                ([role, verb.name], counts.received[role][verb])
                for role, verb in product(ROLES, Verb)
                if verb in ALLOWED[role] or counts.received[role][verb]
            ],
        )
        yield counter(
            "dialgate_broker_messages_sent_total",
            "Messages to peers, by verb.",
            ["role", "verb"],
            [
                ([role, verb.name], traffic.messages_out[role][verb])
                for role in ROLES
                for verb in sorted(FROM_BROKER[role])
            ],
        )
        yield counter(
            "dialgate_broker_drops_total",
            "Messages, and frames that were not read, that went no further, by reason.",
            ["reason"],
            [
                *(([reason], number) for reason, number in counts.drops.items()),
                (["multipart frame"], traffic.multipart_drops),
                (["empty frame"], traffic.empty_drops),
            ],
        )
        yield counter(
            "dialgate_broker_frames_malformed_total",
            "Frames with a malformed message, by the sender's role and the fault.",
            ["role", "reason"],
            [([role, reason], number) for (role, reason), number in counts.malformed.items()],
        )
        yield counter(
            "dialgate_broker_errors_total",
            "ERRORs sent, by the offender's role and reason.",
            ["role", "reason"],
            [([role, reason], number) for (role, reason), number in counts.errors.items()],
        )
        yield counter(
            "dialgate_broker_penalties_total",
            "Peers that made so many errors that they are not listened to for a while.",
            ["role"],
            [([role], counts.penalties[role]) for role in ROLES],
        )

    def _dialogs(self) -> Iterator[Metric]:
        counts = self._broker.counts
        yield gauge(
            "dialgate_broker_dialogs",
            "Dialogs that pass through here; the waiting ones are the queue.",
            ["state"],
            [([state], number) for state, number in self._view.dialog_states().items()],
        )
        yield gauge(
            "dialgate_broker_queue_wait_seconds",
            "How long the first in the queue has waited for a worker; 0 if nobody waits.",
            [],
            [((), self._first_wait_s())],
        )
        yield counter(
            "dialgate_broker_begins_total",
            "BEGINs accepted: the first of a dialog, or again after a worker or session was lost.",
            ["kind"],
            [(["first"], counts.begun), (["again"], counts.begun_again)],
        )
        yield counter(
            "dialgate_broker_refusals_total",
            "BEGINs that a worker or this broker refused, by code.",
            ["code"],
            [([code], number) for code, number in counts.refused.items()],
        )
        yield counter(
            "dialgate_broker_verdicts_total",
            "COMPLETEs forwarded to agents; a broker can't read which verdict.",
            [],
            [((), counts.completed)],
        )
        yield counter(
            "dialgate_broker_ends_total",
            "ENDs forwarded to workers: normal after a verdict, abnormal before.",
            ["kind"],
            [([kind], counts.ended[kind]) for kind in ("normal", "abnormal")],
        )
        yield counter(
            "dialgate_broker_ends_delayed_total",
            "ENDs that a worker answered with 0: a COMPLETE is still to come.",
            [],
            [((), counts.delayed_ends)],
        )
        yield counter(
            "dialgate_broker_leases_over_total",
            "ENDs that were not answered, or delayed COMPLETEs that didn't come, in end_lease_ms.",
            [],
            [((), counts.leases_over)],
        )
        yield counter(
            "dialgate_broker_dialogs_lost_total",
            "Dialogs whose worker was lost: their callers are asked again.",
            [],
            [((), counts.dialogs_lost)],
        )
        yield histogram(
            "dialgate_broker_end_to_reply_seconds",
            "From END to its answer, the worker's or for want of it the broker's.",
            "",
            {"": counts.end_to_reply},
        )
        yield histogram(
            "dialgate_broker_dialog_seconds",
            "From a dialog's first BEGIN here until it is over.",
            "",
            {"": counts.dialog},
        )

    def _lines(self) -> Iterator[Metric]:
        agents = {agent.name for agent in self._view.agent_sessions()}
        lines = Counter(
            (line.site, line.state) for line in self._view.lines() if line.agent in agents
        )
        sites = sorted({site for site, _ in lines})
        yield gauge(
            "dialgate_broker_lines",
            "Ports of the agents that have a session here, by what their agents say of them.",
            ["site", "state"],
            _grid(lines, sites, LINE_STATES),
        )
        yield counter(
            "dialgate_broker_hports_claimed_twice_total",
            "Ports that an agent called its own while another had them.",
            [],
            [((), self._broker.counts.claimed_twice)],
        )

    def _own(self) -> Iterator[Metric]:
        yield counter(
            "dialgate_broker_orders_total",
            "Operators' orders, by act and outcome: done, failed, unanswered, refused.",
            ["act", "outcome"],
            [(labels, number) for labels, number in self._operators.outcomes.items()],
        )
        yield gauge(
            "dialgate_broker_event_streams",
            "Open streams of /events.",
            [],
            [((), self._feed.readers)],
        )
        yield gauge(
            "dialgate_broker_draining",
            "1 while the broker sends its agents away.",
            [],
            [((), int(self._view.is_draining))],
        )
        yield histogram(
            "dialgate_broker_loop_lag_seconds",
            "By how much later than asked for the event loop woke a task.",
            "",
            {"": self._lag},
        )

    def _first_wait_s(self) -> float:
        due = self._broker.switchboard.queue.deadline()
        return 0.0 if due == inf else max(0.0, self._queue_timeout_s - (due - self._view.now()))


def _grid(
    numbers: Mapping[tuple[R, C], int], rows: Iterable[R], columns: Iterable[C]
) -> list[tuple[Sequence[str], int]]:
    """Return a sample for each pair of labels, also of those that were never counted."""
    return [(pair, numbers.get(pair, 0)) for pair in product(rows, list(columns))]
