"""Protocol §5 "assign", §6.7 (admission) and §6.8 (credit).  One test a sentence."""

from __future__ import annotations

from dialgate.codes import NO_ERROR
from dialgate.wire.verbs import Role
from tests.broker.house import House, Peer, id16


def owner_of(house: House, dialog: str) -> str:
    """Return the name of the worker that has the dialog."""
    worker = house.broker.switchboard.entries.by_dialog[id16(dialog)].worker
    return worker.name if worker is not None else "nobody"


def begins(peer: Peer) -> list[str]:
    """Return which BEGINs a worker has had since the last call."""
    return [text.removeprefix("BEGIN ") for text in peer.hears() if text.startswith("BEGIN")]


# ---------------------------------------------------------------------------- assign


def test_the_connected_owner_gets_the_dialog_even_without_credit() -> None:
    house = House()
    agent, _owner, _free = house.agent(), house.worker("W0"), house.worker("W1", credit=9)

    agent.begin("d", 2, owner="W0")

    assert owner_of(house, "d") == "W0"


def test_the_connected_owner_gets_the_dialog_even_while_it_drains() -> None:
    house = House()
    agent, owner, _free = house.agent(), house.worker("W0", credit=9), house.worker("W1", credit=9)
    owner.drain()

    agent.begin("d", 2, owner="W0")

    assert owner_of(house, "d") == "W0"


def test_an_owner_that_is_not_connected_is_not_waited_for() -> None:
    house = House()
    agent, _free = house.agent(), house.worker("W1", credit=1)

    agent.begin("d", 2, owner="W0")

    assert owner_of(house, "d") == "W1"


def test_the_worker_with_most_credit_left_is_next() -> None:
    house = House()
    agent = house.agent()
    house.worker("W0", credit=1)
    house.worker("W1", credit=3)

    for number in range(3):
        agent.begin(f"d{number}", hport=f"p{number}")

    assert [owner_of(house, f"d{number}") for number in range(3)] == ["W1", "W1", "W0"]


def test_less_credit_left_is_not_made_up_for_by_a_longer_rest() -> None:
    house = House()
    agent = house.agent()
    busy = house.worker("W0", credit=1)
    agent.begin("d0", hport="p0")
    busy.ready(9)
    house.worker("W1", credit=1)

    agent.begin("d1", hport="p1")

    assert owner_of(house, "d1") == "W0"


def test_among_equals_the_least_recently_used_worker_is_next() -> None:
    house = House()
    agent = house.agent()
    workers = [house.worker(f"W{number}", credit=1) for number in range(3)]
    order = []

    for number in range(6):
        agent.begin(f"d{number}", hport=f"p{number}")
        order.append(owner_of(house, f"d{number}"))
        for worker in workers:
            if worker.name == order[-1]:
                worker.ready(2)

    assert order == ["W0", "W1", "W2", "W0", "W1", "W2"]


def test_only_workers_of_the_pool_are_asked() -> None:
    house = House()
    agent = house.agent()
    house.worker("W0", credit=9)
    house.worker("W1", credit=1, pools=("ops", "field"))

    agent.begin("d", pool="ops")
    agent.begin("e", hport="p2", pool="field")

    assert owner_of(house, "d") == "W1"
    assert owner_of(house, "e") == "nobody"


def test_a_worker_that_drains_gets_nothing_new() -> None:
    house = House()
    agent, worker = house.agent(), house.worker("W0", credit=9)
    worker.drain()

    agent.begin("d")
    worker.ready(10)

    assert owner_of(house, "d") == "nobody"


def test_credit_goes_to_higher_attempts_first_then_first_come_first_served() -> None:
    house = House()
    agent, worker = house.agent(), house.worker()
    for number, attempt in enumerate([1, 1, 3, 2, 3]):
        agent.begin(f"d{number}", attempt, hport=f"p{number}")

    worker.ready(5)

    assert begins(worker) == ["d2(3)", "d4(3)", "d3(2)", "d0(1)", "d1(1)"]


def test_credit_is_for_the_pools_of_the_worker_whichever_waits_longest() -> None:
    house = House()
    agent, worker = house.agent(), house.worker(pools=("ops", "field"))
    for number, pool in enumerate(["field", "other", "ops", "field"]):
        house.now += 0.1
        agent.begin(f"d{number}", hport=f"p{number}", pool=pool)

    worker.ready(9)

    assert begins(worker) == ["d0(1)", "d2(1)", "d3(1)"]


def test_a_welcomed_owner_gets_what_waits_for_it_without_credit() -> None:
    house = House()
    agent = house.agent()
    agent.begin("d", 2, owner="W0")
    agent.begin("e", 3, hport="p2", owner="W0")
    agent.begin("f", 4, hport="p3", owner="W1")

    worker = house.peer(Role.WORKER, "W0")

    assert worker.hello() == ["WELCOME", "BEGIN e(3)", "BEGIN d(2)"]


def test_one_begin_goes_to_one_worker_only() -> None:
    house = House()
    agent, first, second = house.agent(), house.worker("W0", credit=2), house.worker("W1", credit=1)
    agent.begin("d")

    first.fails()

    assert agent.hears() == ["LOST d(1) ras:645"]
    assert begins(second) == []


# ---------------------------------------------------------------------------- admission, §6.7


def test_a_first_begin_over_max_waiting_is_refused_at_once() -> None:
    house = House(max_waiting=2)
    agent = house.agent()

    for number in range(3):
        agent.begin(f"d{number}", hport=f"p{number}")

    assert agent.hears() == ["REFUSED d2(1) win:170"]


def test_any_begin_over_twice_max_waiting_is_refused_at_once() -> None:
    house = House(max_waiting=2)
    agent = house.agent()

    for number in range(5):
        agent.begin(f"d{number}", 2, hport=f"p{number}")

    assert agent.hears() == ["REFUSED d4(2) win:170"]


def test_who_waits_already_and_begins_again_does_not_count_twice() -> None:
    house = House(max_waiting=1)
    agent = house.agent()
    agent.begin("d", 1)
    agent.begin("e", 2, hport="p2")

    agent.begin("e", 3, hport="p2")

    assert agent.hears() == []
    assert house.state("e") == "WAITING(3)"


def test_a_replacing_begin_that_is_refused_still_ends_the_former_owners_task() -> None:
    house = House(max_waiting=1)
    agent, worker = house.agent(), house.worker(credit=1)
    agent.begin("d", 1)
    for number in range(2):
        agent.begin(f"x{number}", 2, hport=f"x{number}")
    worker.hears()

    agent.begin("d", 2)

    assert agent.hears() == ["REFUSED d(2) win:170"]
    assert worker.hears() == ["END d(1) ras:619"]
    assert house.state("d") == "none"


def test_dialogs_are_bounded() -> None:
    house = House(dialogs_max=1)
    agent, _worker = house.agent(), house.worker(credit=9)

    agent.begin("d")
    agent.begin("e", hport="p2")

    assert agent.hears() == ["REFUSED e(1) win:170"]


def test_want_of_a_workers_room_is_no_reason_to_refuse() -> None:
    house = House()
    agent, _worker = house.agent(), house.worker(credit=0)

    agent.begin("d")
    house.wait(9.9)
    assert "REFUSED d(1) win:1311" not in agent.hears()
    house.wait(0.2)

    assert "REFUSED d(1) win:1311" in agent.hears()


# ---------------------------------------------------------------------------- credit, §6.8


def test_begins_to_an_owner_count_and_nothing_else_goes_until_credit_passes_them() -> None:
    house = House()
    agent, worker = house.agent(), house.worker("W0", credit=1)
    agent.begin("d", 2, hport="p1", owner="W0")
    agent.begin("e", 2, hport="p2", owner="W0")
    agent.begin("f", 1, hport="p3")
    assert begins(worker) == ["d(2)", "e(2)"]

    worker.ready(2)
    assert begins(worker) == []
    worker.ready(3)

    assert begins(worker) == ["f(1)"]


def test_credit_never_falls() -> None:
    house = House()
    agent, worker = house.agent(), house.worker(credit=2)

    worker.ready(1)
    agent.begin("d", hport="p1")
    agent.begin("e", hport="p2")

    assert begins(worker) == ["d(1)", "e(1)"]
    assert house.drops() == {"credit fell": 1}


def test_credit_is_a_sessions_own() -> None:
    house = House()
    agent, worker = house.agent(), house.worker(credit=9)

    worker.hello()
    agent.begin("d")

    assert owner_of(house, "d") == "nobody"


def test_a_dialogs_end_gives_no_credit_back_by_itself() -> None:
    house = House()
    agent, worker = house.agent(), house.worker(credit=1)
    agent.begin("d")
    agent.end("d", reason=NO_ERROR)
    worker.end_reply("d")

    agent.begin("e")

    assert house.state("e") == "WAITING(1)"
