"""What a scrape shows of a broker: the real core, in states made by hand, read as text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from broker.events import Feed
from broker.http import Operators
from broker.ledger_metrics import LedgerCollector
from broker.metrics import BrokerCollector
from broker.view import View
from dialgate.codes import Code
from dialgate.histogram import Histogram
from dialgate.wire.bodies import Lines, LineState, Refused
from dialgate.wire.verbs import Role, Verb
from tests.broker.house import House, Peer
from tests.broker.test_http import Loop

DOCS: Final = Path(__file__).parents[2] / "docs/metrics.md"
QUEUE_TIMEOUT_S: Final = 10.0


class Traffic:
    """What the loop around the core counts."""

    def __init__(self) -> None:
        self.frames_in = 3
        self.frames_out = 2
        self.messages_out = {role: [0] * 256 for role in (Role.AGENT, Role.WORKER)}
        self.multipart_drops = 1
        self.empty_drops = 4


class Storing:
    """What the ledger counts."""

    stored, doubled, dropped, errors, waiting = 12, 3, 2, 4, 5
    failing = "disk full"


class Scrape:
    """A registry over `broker` that is read as often as asked."""

    def __init__(self, house: House) -> None:
        self.traffic = Traffic()
        self.lag = Histogram((0.01, 1.0))
        view = View(house.broker, lambda: house.now)
        self.operators = Operators(Loop(), view)
        self.feed = Feed(house.broker.board, view.items)
        self.registry = CollectorRegistry()
        self.registry.register(
            BrokerCollector(
                house.broker,
                self.traffic,
                view,
                self.operators,
                self.feed,
                lag=self.lag,
                queue_timeout_s=QUEUE_TIMEOUT_S,
            )
        )
        self.registry.register(LedgerCollector(Storing()))

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample's value; `name` goes without the prefix."""
        return self.registry.get_sample_value(f"dialgate_broker_{name}", labels)

    def values(self, name: str) -> dict[str, float]:
        """Return all samples but those at 0, by the text of their labels."""
        found = re.findall(
            rf"^dialgate_broker_{name}(?:{{(.*)}})? (\S+)$", self.text(), re.MULTILINE
        )
        return {
            labels.replace('"', ""): float(number) for labels, number in found if number != "0.0"
        }


def lists(agent: Peer, **states: str) -> None:
    lines = tuple(
        LineState(hport=hport, state=state, reason="", since_ms=0)  # type: ignore[arg-type]
        for hport, state in states.items()
    )
    agent.say(Verb.LINES, Lines(lines=lines, complete=True))


def test_sessions_are_shown_by_role_and_their_losses_by_reason() -> None:
    house = House()
    house.worker("w1")
    house.worker("w2").bye()
    house.agent("a1").is_silent = True
    house.wait(5)
    scrape = Scrape(house)

    assert scrape.values("sessions") == {"role=worker": 1}
    assert scrape.values("session_losses_total") == {
        "reason=bye,role=worker": 1,
        "reason=silence,role=agent": 1,
    }


def test_every_reason_of_a_loss_is_there_before_it_happens() -> None:
    assert Scrape(House()).value("session_losses_total", role="agent", reason="key revoked") == 0


def test_an_agent_that_was_here_and_went_is_shown_as_not_connected() -> None:
    house = House()
    here, gone = house.agent("a1"), house.agent("a2", site="bergen")
    lists(here, p1="idle")
    lists(gone, p2="idle")
    gone.bye()
    scrape = Scrape(house)

    assert scrape.value("agent_connected", agent="a1", site="oslo") == 1
    assert scrape.value("agent_connected", agent="a2", site="bergen") == 0


def test_lines_are_counted_by_site_and_state_for_agents_that_are_here() -> None:
    house = House()
    lists(house.agent("a1"), p1="idle", p2="faulted", p3="idle")
    gone = house.agent("a2", site="bergen")
    lists(gone, p4="online")
    gone.bye()
    scrape = Scrape(house)

    assert scrape.values("lines") == {"site=oslo,state=idle": 2, "site=oslo,state=faulted": 1}
    assert scrape.value("lines", site="oslo", state="quarantined") == 0
    assert scrape.value("lines", site="bergen", state="unknown") is None


def test_a_worker_shows_its_credit_and_its_dialogs() -> None:
    house = House()
    house.worker("w1", credit=3)
    house.agent("a1").begin("d1")
    scrape = Scrape(house)

    assert scrape.value("worker_credit", worker="w1") == 2
    assert scrape.value("worker_dialogs", worker="w1") == 1


def test_dialogs_are_shown_by_state() -> None:
    house = House()
    worker, agent = house.worker("w1", credit=2), house.agent("a1")
    for number in (1, 2, 3):
        agent.begin(f"d{number}", hport=f"p{number}")
    agent.end("d1")
    scrape = Scrape(house)

    assert scrape.values("dialogs") == {"state=owned": 1, "state=waiting": 1, "state=ending": 1}
    assert worker.hears()


def test_the_queue_shows_how_long_its_first_has_waited() -> None:
    house = House(queue_timeout_ms=int(QUEUE_TIMEOUT_S * 1000))
    scrape = Scrape(house)
    assert scrape.value("queue_wait_seconds") == 0

    agent = house.agent("a1")
    agent.begin("d1", hport="p1")
    house.wait(2.5)
    agent.begin("d2", hport="p2")
    house.wait(0.5)

    assert scrape.value("queue_wait_seconds") == pytest.approx(3.0, abs=0.01)


def test_a_dialogs_course_is_counted() -> None:
    house = House()
    worker, agent = house.worker("w1", credit=3), house.agent("a1")
    agent.begin("d1")
    agent.begin("d1", attempt=2)
    worker.complete("d1", attempt=2)
    agent.end("d1", attempt=2)
    house.wait(0.5)
    worker.end_reply("d1", attempt=2)
    agent.begin("d2")
    worker.refuse("d2")
    scrape = Scrape(house)

    assert scrape.values("begins_total") == {"kind=first": 2, "kind=again": 1}
    assert scrape.values("verdicts_total") == {"": 1}
    assert scrape.values("ends_total") == {"kind=abnormal": 1}
    assert scrape.values("refusals_total") == {"code=win:1311": 1}
    assert scrape.value("end_to_reply_seconds_bucket", le="0.25") == 0
    assert scrape.value("end_to_reply_seconds_bucket", le="0.5") == 1
    assert scrape.value("dialog_seconds_count") == 2


def test_messages_are_counted_by_role_and_verb() -> None:
    house = House()
    agent = house.agent("a1")
    agent.ping()
    agent.ping()
    scrape = Scrape(house)
    scrape.traffic.messages_out[Role.AGENT][Verb.PONG] = 2

    assert scrape.values("messages_received_total") == {
        "role=agent,verb=HELLO": 1,
        "role=agent,verb=PING": 2,
    }
    assert scrape.values("messages_sent_total") == {"role=agent,verb=PONG": 2}
    assert scrape.value("frames_received_total") == 3
    assert scrape.value("frames_sent_total") == 2


def test_drops_and_errors_are_counted_by_reason() -> None:
    house = House()
    agent = house.agent("a1")
    agent.received("d9")
    agent.send_raw(b"\xc1")
    agent.say(Verb.WELCOME, Lines(lines=(), complete=True))
    scrape = Scrape(house)

    assert scrape.values("drops_total") == {
        "reason=unknown dialog": 1,
        "reason=multipart frame": 1,
        "reason=empty frame": 4,
    }
    assert scrape.values("frames_malformed_total") == {"reason=not MessagePack,role=agent": 1}
    assert scrape.values("errors_total") == {
        "reason=malformed,role=agent": 1,
        "reason=verb not allowed,role=agent": 1,
    }


def test_the_brokers_own_state_is_shown() -> None:
    house = House()
    scrape = Scrape(house)
    scrape.lag.observe(0.5)
    scrape.operators.outcomes["reset", "done"] += 1
    house.broker.drain(1000, house.now)

    with scrape.feed.reader():
        assert scrape.value("event_streams") == 1
    assert scrape.value("draining") == 1
    assert scrape.value("loop_lag_seconds_bucket", le="1.0") == 1
    assert scrape.values("orders_total") == {"act=reset,outcome=done": 1}


@pytest.fixture
def busy() -> Scrape:
    """Return a scrape of a broker that has seen a bit of everything."""
    house = House()
    worker, agent = house.worker("w1", credit=9), house.agent("a1")
    lists(agent, p1="idle")
    agent.begin("d1")
    worker.refuse("d1")
    agent.send_raw(b"\xc1")
    scrape = Scrape(house)
    scrape.operators.outcomes["reset", "done"] += 1
    return scrape


def test_promtool_finds_no_fault_in_a_scrape(busy: Scrape) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=busy.text(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_family_is_in_the_handbook_and_no_other_is(busy: Scrape) -> None:
    families = set(re.findall(r"^# TYPE (dialgate_broker_\w+)", busy.text(), re.MULTILINE))
    documented = set(re.findall(r"^\| `(dialgate_broker_\w+)", DOCS.read_text(), re.MULTILINE))

    assert documented == families


def test_nothing_that_a_peer_says_becomes_a_label_without_bound() -> None:
    house = House()
    worker, agent = house.worker("w1", credit=100), house.agent("a1")
    for number in range(50):
        agent.begin(f"d{number}", hport=f"p{number}")
        refused = Refused(code=Code("win", 70_000 + number))
        worker.say(Verb.REFUSED, refused, f"d{number}", attempt=1)

    assert Scrape(house).values("refusals_total") == {"code=other": 50}
