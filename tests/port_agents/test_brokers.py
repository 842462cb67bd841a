"""Which broker an agent uses: order, fail-over, the site's own, moving and offering.

Links are single letters; their weight is the letter, so that the order is that of the alphabet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import count
from typing import Final

from dialgate.session import CloseLink, OpenLink
from dialgate.wire.bodies import Welcome
from port_agents.brokers import NEXT_S, Brokers, LinkAction, rendezvous

WELCOME: Final = Welcome(
    protocol=1,
    name="broker",
    instance=bytes(16),
    heartbeat_ms=500,
    end_lease_ms=4000,
    queue_timeout_ms=3000,
    frame_bytes_max=65_536,
    body_bytes_max=16_384,
)


def weight(_agent: str, link: str) -> bytes:
    return bytes([255 - ord(link)])


class Bench:
    """An agent's brokers; sessions are numbered as they come."""

    def __init__(self, brokers: str, local_brokers: str = "") -> None:
        self.now = 0.0
        self.brokers = Brokers("oslo-1", brokers, local_brokers, weight=weight)
        self.sessions: dict[str, int] = {}
        self._numbers = count(1)

    def start(self) -> str:
        return spell(self.brokers.start(self.now))

    def opened(self, link: str) -> str:
        self.sessions[link] = next(self._numbers)
        return spell(self.brokers.opened(link, self.sessions[link], WELCOME, self.now))

    def closed(self, link: str) -> str:
        return spell(self.brokers.closed(self.sessions.pop(link), self.now))

    def drain(self, link: str) -> str:
        return spell(self.brokers.drain(self.sessions[link], self.now))

    def wait(self, seconds: float = NEXT_S) -> str:
        self.now += seconds
        return spell(self.brokers.tick(self.now))

    def release(self, *needed: str) -> str:
        return spell(self.brokers.release(needed))

    @property
    def home(self) -> str | None:
        home = self.brokers.home
        return None if home is None else self.brokers.link_of(home.session)


def spell(actions: Iterable[LinkAction]) -> str:
    """Return "+a" for each link that is opened and "-a" for each that is closed."""
    return " ".join(f"{'+' if isinstance(x, OpenLink) else '-'}{x.link}" for x in actions)


def at_home(brokers: str, local_brokers: str = "") -> Bench:
    bench = Bench(brokers, local_brokers)
    bench.start()
    bench.opened(brokers[0])
    return bench


def test_the_order_is_rendezvous_hashing_of_the_agents_name() -> None:
    links = [f"tcp://192.0.2.{n}:7700" for n in range(1, 6)]
    first = {name: Brokers(name, links).order[0] for name in map(str, range(200))}

    assert set(first.values()) == set(links)
    for name in map(str, range(200)):
        fewer = [link for link in links if link != first[name]]
        assert Brokers(name, links).order[1] == Brokers(name, fewer).order[0]


def test_the_weight_depends_on_agent_and_link() -> None:
    assert rendezvous("a", "bc") != rendezvous("ab", "c")
    assert len(rendezvous("a", "b")) == 8


def test_the_sites_own_brokers_come_last_whatever_their_weight() -> None:
    assert Bench("cd", "ab").brokers.order == ("c", "d", "a", "b")


def test_brokers_are_tried_in_order_and_the_first_that_answers_is_home() -> None:
    bench = Bench("abc")

    assert bench.start() == "+a"
    assert bench.wait() == "+b"
    assert bench.opened("b") == ""
    assert bench.release() == "-a"
    assert bench.home == "b"


def test_with_a_home_no_other_is_tried() -> None:
    bench = at_home("ab")

    assert bench.brokers.deadline() == math.inf


def test_the_home_carries_the_brokers_numbers() -> None:
    home = at_home("a").brokers.home

    assert home is not None
    assert (home.heartbeat_s, home.end_lease_s, home.queue_timeout_s) == (0.5, 4.0, 3.0)


def test_a_lost_home_is_replaced_by_the_next_at_once() -> None:
    bench = at_home("abc")

    assert bench.closed("a") == "+b"
    assert bench.home is None
    assert bench.wait() == "+c"


def test_a_lost_home_that_is_back_first_is_home_again() -> None:
    bench = at_home("abc")
    bench.closed("a")
    bench.opened("a")

    assert bench.home == "a"
    assert bench.release() == "-b"


def test_a_home_is_kept_when_a_better_one_answers() -> None:
    bench = at_home("ab")
    bench.closed("a")
    bench.opened("b")
    bench.opened("a")

    assert bench.home == "b"


def test_the_only_broker_is_waited_for() -> None:
    bench = at_home("a")

    assert bench.closed("a") == ""
    assert bench.wait() == ""
    bench.opened("a")
    assert bench.home == "a"


def test_the_sites_own_broker_is_used_when_no_other_answers_in_time() -> None:
    bench = Bench("ab", "x")

    assert [bench.start(), bench.wait(), bench.wait()] == ["+a", "+b", "+x"]
    bench.opened("x")
    assert bench.home == "x"
    assert bench.release() == ""


def test_a_restart_of_the_clusters_broker_is_no_reason_to_use_the_sites_own() -> None:
    bench = at_home("a", "x")

    assert bench.closed("a") == ""
    bench.now += 1
    bench.opened("a")
    assert (bench.home, bench.brokers.deadline()) == ("a", math.inf)


def test_the_sites_own_broker_is_tried_when_the_clusters_stays_away() -> None:
    bench = at_home("a", "x")
    bench.closed("a")

    assert bench.wait() == "+x"


def test_from_the_sites_own_broker_the_agent_goes_home() -> None:
    bench = Bench("a", "x")
    bench.start()
    bench.wait()
    bench.opened("x")
    bench.opened("a")

    assert bench.home == "a"
    assert bench.release("x") == ""
    assert bench.release() == "-x"


def test_a_draining_broker_is_left_for_the_next() -> None:
    bench = at_home("ab")

    assert bench.drain("a") == "+b"
    assert bench.home == "a"
    bench.opened("b")
    assert bench.home == "b"
    assert bench.release("a") == ""
    assert bench.release() == "-a"


def test_the_only_broker_is_kept_while_it_drains() -> None:
    bench = at_home("a", "x")

    assert bench.drain("a") == ""
    assert bench.home == "a"


def test_a_broker_that_drained_and_is_back_can_be_home() -> None:
    bench = at_home("a")
    bench.drain("a")
    bench.closed("a")
    bench.opened("a")

    assert bench.home == "a"


def test_a_drain_of_another_broker_changes_nothing() -> None:
    bench = at_home("ab")
    bench.brokers.open("b")
    bench.opened("b")

    assert bench.drain("b") == ""
    assert bench.home == "a"


def test_an_offer_opens_a_second_session_that_is_no_home() -> None:
    bench = at_home("ab")

    assert spell(bench.brokers.open("b")) == "+b"
    bench.opened("b")
    assert bench.home == "a"
    assert bench.brokers.route_to("b") is not None
    assert bench.release("b") == ""
    assert bench.release() == "-b"


def test_an_adopted_session_is_home() -> None:
    bench = at_home("ab")
    bench.brokers.open("b")
    bench.opened("b")
    bench.brokers.adopt(bench.sessions["b"])

    assert bench.home == "b"
    assert bench.release() == "-a"


def test_a_second_session_takes_over_when_the_home_is_lost() -> None:
    bench = at_home("ab")
    bench.brokers.open("b")
    bench.opened("b")

    assert bench.closed("a") == ""

    assert bench.home == "b"
    assert bench.brokers.deadline() == math.inf


def test_dialogs_are_offered_to_the_sites_own_brokers_only_from_there() -> None:
    bench = Bench("ab", "x")
    bench.start()
    assert bench.brokers.offers == ("a", "b")

    bench.wait(), bench.wait()
    bench.opened("x")
    assert bench.brokers.offers == ("a", "b", "x")


def test_an_order_to_rehome_tries_what_is_before_the_home() -> None:
    bench = at_home("abc")
    bench.closed("a")
    bench.wait()
    bench.opened("c")
    bench.release()

    assert spell(bench.brokers.rehome()) == "+a +b"
    bench.opened("b")
    assert bench.home == "b"
    bench.opened("a")
    assert bench.home == "a"
    assert bench.release() == "-b -c"


def test_who_is_home_again_does_not_come_back_to_a_broker_that_drains() -> None:
    bench = at_home("ab")
    bench.closed("a")
    bench.wait()
    bench.opened("b")
    bench.release()
    bench.brokers.rehome()
    bench.opened("a")
    bench.release()

    assert bench.drain("a") == "+b"
    bench.opened("b")

    assert bench.release() == "-a"


def test_who_is_home_again_stays_with_a_broker_that_he_moves_to_later() -> None:
    bench = at_home("ab")
    bench.closed("a")
    bench.wait()
    bench.opened("b")
    bench.release()
    bench.brokers.rehome()
    bench.opened("a")

    bench.brokers.adopt(bench.sessions["b"])

    assert bench.release() == "-a"


def test_a_broker_that_drains_ends_the_way_home() -> None:
    bench = at_home("abc")
    bench.closed("a")
    bench.wait()
    bench.opened("b")
    bench.release()
    bench.brokers.rehome()
    bench.drain("b")
    bench.wait()
    bench.opened("c")

    assert bench.release() == "-a -b"


def test_closing_closes_every_link() -> None:
    bench = at_home("ab")
    bench.brokers.open("b")

    assert spell(bench.brokers.close()) == "-a -b"
    assert bench.home is None


def test_a_closed_links_session_is_forgotten() -> None:
    bench = at_home("ab")
    bench.drain("a")
    bench.opened("b")
    bench.release()

    assert bench.closed("a") == ""
    assert bench.brokers.close() == [CloseLink("b", stops=True)]


def test_what_is_said_of_a_session_that_is_not_there_changes_nothing() -> None:
    bench = at_home("ab")

    assert bench.brokers.closed(99, bench.now) == []
    assert bench.brokers.drain(99, bench.now) == []
    assert bench.home == "a"


def test_an_open_link_is_not_opened_again() -> None:
    assert at_home("ab").brokers.open("a") == []


def adopted() -> Bench:
    """Return brokers of which B is home, since A had no worker, and all have a session."""
    bench = Bench("ABC")
    bench.start()
    for link in "ABC":
        bench.brokers.open(link)
        bench.opened(link)
    bench.brokers.adopt(bench.sessions["B"])
    return bench


def test_a_session_that_ends_beside_the_home_moves_nobody() -> None:
    bench = adopted()

    assert bench.closed("C") == ""

    assert bench.home == "B"


def test_a_broker_that_drains_beside_the_home_moves_nobody() -> None:
    bench = adopted()

    assert bench.drain("C") == ""

    assert bench.home == "B"


def test_a_drain_of_a_session_that_is_over_moves_nobody() -> None:
    bench = adopted()
    number = bench.sessions["C"]
    bench.closed("C")

    assert bench.brokers.drain(number, bench.now) == []

    assert bench.home == "B"


def test_an_agent_without_a_home_is_at_no_local_one() -> None:
    bench = Bench("A", "x")
    bench.start()

    assert not bench.brokers.is_home_local
