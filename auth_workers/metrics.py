"""A worker's metrics: every name and label in one place, read when Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from auth_workers.authenticators import Measured
from auth_workers.charging import Charging
from auth_workers.hashing import HashingPool
from auth_workers.policy import Policies
from auth_workers.runner import Runner
from dialgate.link import Link
from dialgate.metrics import build_info, counter, gauge, histogram

__all__ = ["WorkerMetrics"]

DROPS = (
    "no session",
    "not of an open attempt",
    "BEGIN of an old attempt",
    "answer after the end",
    "answer to no question",
    "second END",
    "bad body",
    "END delayed for longer than the lease",
    "clean-up took too long",
)
"""The core's reasons, all of them: there from the start at 0."""
LOSSES = ("silence", "send failed", "bye", "no session at broker", "no welcome", "refused")
"""A link's reasons for the end of a session."""


class WorkerMetrics(Collector):
    """Reads the figures of a running worker.

    Args:
        runner: the dialogs' tasks, and through them the core.
        links: one a broker.
        capacity: dialogs it takes at a time.
        policies: where there are any; a benchmark has none.
        hashing: likewise.
        charging: likewise.
        copy_until_s: until when copied users count, seconds since 1970; None: there are none.
    """

    def __init__(
        self,
        runner: Runner,
        links: Sequence[Link],
        capacity: int,
        *,
        policies: Policies | None = None,
        hashing: HashingPool | None = None,
        charging: Charging | None = None,
        copy_until_s: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._runner = runner
        self._links = links
        self._capacity = capacity
        self._policies = policies
        self._hashing = hashing
        self._charging = charging
        self._copy_until_s = copy_until_s

    def collect(self) -> Iterable[Metric]:
        """Yield every family."""
        yield build_info("worker")
        yield from self._dialogs()
        yield from self._sessions()
        if self._policies is not None:
            yield counter(
                "dialgate_worker_policy_misses_total",
                "Dialogs for which no policy matched, so that nobody got in.",
                [],
                [([], self._policies.misses)],
            )
            for name, documentation, value in (
                (
                    "unfit_numbers",
                    "Callers refused because of the number that they called from.",
                    self._policies.unfit_numbers,
                ),
                (
                    "sessions_refused",
                    "Users who had as many sessions as they may.",
                    self._policies.sessions_refused,
                ),
                (
                    "break_glass_logins",
                    "Users admitted by a policy for emergencies.",
                    self._policies.break_glass_logins,
                ),
            ):
                yield counter(f"dialgate_worker_{name}_total", documentation, [], [([], value)])
            yield counter(
                "dialgate_worker_authenticator_unavailable_total",
                "Dialogs in which an authenticator could not be asked.",
                ["authenticator"],
                [([name], count) for name, count in self._policies.unavailable.items()],
            )
            yield from _merged(self._policies.measured)
        until_s = self._copy_until_s()
        yield gauge(
            "dialgate_worker_users_copy_expiry_timestamp_seconds",
            "Until when users copied from the centre count, since 1970; no sample: there are none.",
            [],
            [] if until_s is None else [([], until_s)],
        )
        if self._hashing is not None:
            yield gauge(
                "dialgate_worker_password_checks",
                "Password checks that are running or waiting.",
                [],
                [([], self._hashing.waiting)],
            )
            yield counter(
                "dialgate_worker_password_checks_refused_total",
                "Logins without a decision because too many waited for their password's check.",
                [],
                [([], self._hashing.refused)],
            )

        if self._charging is not None:
            yield from _tries(self._charging)

    def _dialogs(self) -> Iterable[Metric]:
        core, counts = self._runner.worker, self._runner.counts
        yield gauge(
            "dialgate_worker_dialogs", "Dialogs that are open.", [], [([], core.open_dialogs)]
        )
        yield gauge(
            "dialgate_worker_capacity",
            "Dialogs that the worker takes at a time.",
            [],
            [([], self._capacity)],
        )
        yield gauge(
            "dialgate_worker_credit",
            "Dialogs that brokers may still begin unasked.",
            [],
            [([], core.credit.unspent)],
        )
        yield gauge(
            "dialgate_worker_draining",
            "1 while the worker takes no new dialogs.",
            [],
            [([], int(core.draining))],
        )
        yield histogram(
            "dialgate_worker_dialog_seconds",
            "From Begin to the dialog's outcome.",
            "outcome",
            {outcome.value: each for outcome, each in counts.durations.items()},
        )
        yield histogram(
            "dialgate_worker_end_to_reply_seconds",
            "From END to END_REPLY, with the clean-up of the dialog's task.",
            "",
            {"": counts.replies},
        )
        for name, documentation, value in (
            ("dialogs_started", "Tasks started.", counts.started),
            ("dialogs_cancelled", "Tasks cancelled.", counts.cancelled),
            ("dialogs_reattached", "Dialogs that survived their session.", core.reattached),
            ("authenticator_failures", "Authenticators that broke.", counts.failures),
            (
                "attempts_forgotten",
                "Ended dialogs forgotten before their time, for want of room.",
                core.attempts.forgotten_early,
            ),
        ):
            yield counter(f"dialgate_worker_{name}_total", documentation, [], [([], value)])

    def _sessions(self) -> Iterable[Metric]:
        core, links = self._runner.worker, self._links
        yield gauge(
            "dialgate_worker_sessions", "Brokers it has a session with.", [], [([], core.sessions)]
        )
        yield counter(
            "dialgate_worker_session_losses_total",
            "Sessions with brokers that ended or never opened, by reason.",
            ["reason"],
            _sums(LOSSES, [link.session.losses for link in links]),
        )
        yield counter(
            "dialgate_worker_drops_total",
            "Messages without effect and bounds that were reached, by reason.",
            ["reason"],
            _sums(DROPS, [core.drops, *(link.session.drops for link in links)]),
        )
        yield self._frames("received", lambda link: link.frames_in)
        yield self._frames("sent", lambda link: link.frames_out)

    def _frames(self, way: str, count: Callable[[Link], int]) -> Metric:
        return counter(
            f"dialgate_worker_frames_{way}_total",
            f"Frames {way}, over all brokers.",
            [],
            [([], sum(map(count, self._links)))],
        )


def _merged(measured: Iterable[Measured]) -> Iterable[Metric]:
    """Yield what several authenticators show, each family once."""
    families: dict[str, Metric] = {}
    for authenticator in measured:
        for family in authenticator.collect():
            families.setdefault(family.name, family)
            if families[family.name] is not family:
                families[family.name].samples.extend(family.samples)
    return families.values()


def _tries(charging: Charging) -> Iterable[Metric]:
    for name, documentation, value in (
        ("tries_charged", "Tries charged to users in the state.", charging.charged),
        ("tries_barred", "Tries that were not checked, since a lock held.", charging.barred),
        ("locks", "Locks that failed tries have set.", charging.locks),
        (
            "tries_uncharged",
            "Tries of break-glass users that were checked while the state was away.",
            charging.uncharged,
        ),
    ):
        yield counter(f"dialgate_worker_{name}_total", documentation, [], [([], value)])


def _sums(
    reasons: Sequence[str], tables: Sequence[dict[str, int]]
) -> list[tuple[list[str], float]]:
    """Return the sum over `tables` for each of `reasons` and whatever else they hold."""
    every = dict.fromkeys([*reasons, *(reason for table in tables for reason in table)])
    return [([reason], sum(table.get(reason, 0) for table in tables)) for reason in every]
