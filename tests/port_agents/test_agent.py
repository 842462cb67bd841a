"""An agent with two ports: which message is for whom, moving, offering, operators, the end.

The ports' modems answer every command at once; what the agent sends is kept as short lines, as
"s1: BEGIN d1 (2)": on session 1, the first dialog, its second attempt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final

import msgspec
import pytest

from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.session import CloseLink, OpenLink, Transmit
from dialgate.wire.bodies import (
    BODIES,
    FAILURE,
    SUCCESS,
    Command,
    Commanded,
    Complete,
    Drain,
    EndReply,
    Lines,
    Lost,
    Receive,
    Refused,
)
from dialgate.wire.body_codec import decode_body, encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from port_agents.agent import Agent
from port_agents.agent_actions import Action, Finished, OnPort
from port_agents.brokers import NEXT_S, Brokers
from port_agents.line_actions import (
    Closure,
    KeepClosure,
    LineSettings,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.line_call import Stage
from port_agents.modem_actions import ModemLines, ModemSettings, ModemState
from port_agents.record_sender import LoadRecords, MarkStored
from tests.port_agents.dialog_bench import DISCONNECTED, NO_WORKER, W, code_text, new_counters
from tests.port_agents.line_bench import SETTINGS
from tests.port_agents.test_brokers import WELCOME as BRISK
from tests.port_agents.test_brokers import weight

STRANGER: Final = b"?" * 16
WELCOME: Final = msgspec.structs.replace(BRISK, queue_timeout_ms=10_000)
ORDER_S: Final = 7.0
MODEM: Final = ModemSettings(init=("ATZ",), dcd="ignore")


class Bench:
    """An agent, its brokers and its modems."""

    def __init__(
        self, brokers: str = "ab", local_brokers: str = "", ports: int = 2, **line: Any
    ) -> None:
        ids = count(1)
        self.now = 100.0
        self.dialogs: list[bytes] = []
        self.counters = new_counters()
        common = replace(SETTINGS, modem=MODEM, **line)
        settings = [replace(common, hport=f"oslo/{n}") for n in range(1, ports + 1)]
        self.agent = Agent(
            Brokers("oslo-1", brokers, local_brokers, weight=weight),
            settings,
            self.counters,
            lambda: next(ids).to_bytes(16),
            order_timeout_s=ORDER_S,
        )
        self.sessions: dict[str, int] = {}
        self.refuses = b""
        """The command that modems answer ERROR."""
        self.kept = NO_ERROR
        """What becomes of closures on the disk."""
        self.seen: list[str] = []
        self.lines: list[Lines] = []
        self.loads = 0
        """How often records were asked for, to be sent."""
        self._numbers = count(1)
        self.do(self.agent.start(self.now))

    # Brokers.

    def open(self, link: str) -> None:
        self.sessions[link] = next(self._numbers)
        self.do(self.agent.session_opened(link, self.sessions[link], WELCOME, self.now))

    def close(self, link: str) -> None:
        session = self.sessions.pop(link)
        self.do(self.agent.session_closed(session, NO_ERROR, self.now))

    def say(
        self,
        verb: Verb,
        body: Any,
        dialog: bytes | None = None,
        attempt: int = 0,
        session: int = 1,
    ) -> None:
        raw = body if isinstance(body, bytes) else encode_body(body)
        self.do(self.agent.message(session, verb, dialog, attempt, raw, self.now))

    def ask(self, dialog: bytes, attempt: int = 1, seq: int = 1, session: int = 1) -> None:
        question = Receive(
            worker=W,
            seq=seq,
            prompt=b"login: ",
            mode="line",
            echo="on",
            limit=64,
            timeout_s=0,
            cookie=b"",
        )
        self.say(Verb.RECEIVE, question, dialog, attempt, session)

    def decide(self, dialog: bytes, attempt: int = 1, session: int = 1) -> None:
        verdict = Complete(
            worker=W,
            msg_id=SUCCESS,
            error=NO_ERROR,
            username="ann",
            domain="",
            attributes={},
        )
        self.say(Verb.COMPLETE, verdict, dialog, attempt, session)

    def end_reply(self, dialog: bytes, attempt: int = 1, session: int = 1) -> None:
        self.say(Verb.END_REPLY, EndReply(code=DISCONNECTED), dialog, attempt, session)

    def refuse(self, dialog: bytes, attempt: int = 1, session: int = 1) -> None:
        self.say(Verb.REFUSED, Refused(code=NO_WORKER), dialog, attempt, session)

    def lose(self, dialog: bytes, attempt: int = 1, session: int = 1) -> None:
        self.say(Verb.LOST, Lost(code=DISCONNECTED), dialog, attempt, session)

    def command(self, act: Any, hport: str = "oslo/1", **fields: Any) -> None:
        body = Command(
            id=b"#" * 16,
            hport=hport,
            act=act,
            mode=fields.get("mode", ""),
            operator="eve",
            reason=fields.get("reason", ""),
        )
        self.say(Verb.COMMAND, body)

    # Ports.

    def plug_in(self) -> None:
        for hport in self.agent.lines:
            self.do(self.agent.opened(hport, None, self.now))
        self.wait(4)

    def call(self, hport: str = "oslo/1") -> bytes:
        """Let a caller be connected; return his dialog's id."""
        self.do(self.agent.receive(hport, b"\r\nRING\r\n", self.now))
        self.do(self.agent.receive(hport, b"\r\nCONNECT 9600\r\n", self.now))
        dialog = self.agent.lines[hport].dialog
        assert dialog is not None
        return dialog.dialog

    def hang_up(self, hport: str = "oslo/1") -> None:
        self.do(self.agent.receive(hport, b"\r\nNO CARRIER\r\n", self.now))

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.agent.deadline()) <= until:
            self.now = max(self.now, due)
            self.do(self.agent.tick(self.now))
        self.now = until

    # What it did.

    def take(self) -> list[str]:
        seen, self.seen = self.seen, []
        return seen

    def do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case OnPort(hport, wanted):
                    self._on_port(hport, wanted)
                case Transmit(session, message):
                    self._sent(session, message)
                case OpenLink(link):
                    self.seen.append(f"+{link}")
                case CloseLink(link):
                    self.sessions.pop(link, None)
                    self.seen.append(f"-{link}")
                case LoadRecords():
                    self.loads += 1
                case MarkStored():
                    pass  # There is no spool here.
                case Finished():
                    self.seen.append("finished")

    def _on_port(self, hport: str, wanted: Any) -> None:
        if isinstance(wanted, StartService):
            self.seen.append(f"{hport}: start")
        elif isinstance(wanted, StopService):
            self.seen.append(f"{hport}: stop")
        elif isinstance(wanted, KeepClosure):
            self.do(self.agent.closure_kept(hport, self.kept, self.now))
        elif isinstance(wanted, WriteLine) and wanted.data.strip()[:2] in {b"AT", b"++"}:
            refused = wanted.data.strip() == self.refuses
            said = b"\r\nERROR\r\n" if refused else b"\r\nOK\r\n"
            self.do(self.agent.receive(hport, said, self.now))

    def _sent(self, session: int, message: bytes) -> None:
        ((verb, dialog, attempt, body, _),), _ = decode_frame(message)
        decoded = decode_body(body, BODIES[Verb(verb)])
        if isinstance(decoded, Lines):
            self.lines.append(decoded)
            return
        if isinstance(decoded, Commanded):
            self.seen.append(f"s{session}: COMMANDED {code_text(decoded.code)}")
            return
        assert dialog is not None
        if dialog not in self.dialogs:
            self.dialogs.append(dialog)
        name = f"d{self.dialogs.index(dialog) + 1}"
        self.seen.append(f"s{session}: {Verb(verb).name} {name} ({attempt})")


def ready(brokers: str = "ab", local_brokers: str = "", ports: int = 2, **line: Any) -> Bench:
    """Return an agent at home with its first broker, its ports idle."""
    bench = Bench(brokers, local_brokers, ports, **line)
    bench.open(brokers[0])
    bench.plug_in()
    bench.take()
    bench.lines.clear()
    return bench


# Sessions, and what observers see.


def test_after_welcome_all_ports_are_told_in_bounded_messages() -> None:
    bench = Bench(ports=30)
    bench.open("a")

    assert [len(x.lines) for x in bench.lines] == [6, 6, 6, 6, 6]
    assert [x.complete for x in bench.lines] == [False, False, False, False, True]
    assert [x.hport for x in bench.lines[4].lines] == [f"oslo/{n}" for n in range(25, 31)]


def test_then_each_change_is_told() -> None:
    bench = ready()
    bench.call("oslo/2")

    assert [
        (x.lines[0].hport, x.lines[0].state, x.complete, len(x.lines)) for x in bench.lines
    ] == [
        ("oslo/2", "answering", True, 1),
        ("oslo/2", "authenticating", True, 1),
    ]


def test_one_input_tells_of_each_port_once_and_of_all_in_few_messages() -> None:
    bench = ready(ports=8)
    bench.do(bench.agent.hold("the disk is full", bench.now))

    assert [(len(x.lines), x.complete) for x in bench.lines] == [(6, True), (2, True)]
    assert {line.state for x in bench.lines for line in x.lines} == {"disabled"}


def test_the_next_home_hears_of_all_ports_before_it_hears_of_changes() -> None:
    bench = ready(ports=8, when_down="ring")
    bench.close("a")
    bench.lines.clear()
    bench.open("b")

    assert [(len(x.lines), x.complete) for x in bench.lines] == [(6, False), (2, True)]
    assert {line.reason for x in bench.lines for line in x.lines} == {""}


def test_a_broker_that_becomes_home_while_it_is_open_is_told_of_all_ports_at_once() -> None:
    bench = ready(ports=8, when_down="ring")
    bench.refuse(bench.call("oslo/1"))
    bench.open("b")
    bench.lines.clear()
    bench.close("a")

    assert [(len(x.lines), x.complete) for x in bench.lines] == [(6, False), (2, True)]


def test_who_has_his_order_answered_has_been_told_what_became_of_the_port() -> None:
    bench = ready()
    order = Command(id=bytes(16), act="disable", hport="oslo/1", mode="", operator="eve", reason="")
    actions = bench.agent.message(1, Verb.COMMAND, None, 0, encode_body(order), bench.now)
    actions += bench.agent.closure_kept("oslo/1", NO_ERROR, bench.now)

    sent = [decode_frame(x.message)[0][0][0] for x in actions if isinstance(x, Transmit)]
    assert sent == [Verb.LINES, Verb.COMMANDED]


def test_a_new_broker_hears_how_long_each_state_lasts() -> None:
    bench = ready()
    bench.call()
    bench.wait(2.5)
    bench.lines.clear()
    bench.close("a")
    bench.open("b")

    assert bench.lines[0].lines[0].since_ms == 2500


def test_calls_go_by_the_home_session() -> None:
    bench = ready()
    bench.call()

    assert bench.take() == ["s1: BEGIN d1 (1)"]


def test_a_call_before_any_broker_answers_begins_with_the_first() -> None:
    bench = Bench()
    bench.plug_in()
    bench.call()
    bench.take()
    bench.open("a")

    assert bench.take() == ["s1: BEGIN d1 (1)", "-b"]


# Messages.


def test_a_message_reaches_the_line_of_its_dialog_only() -> None:
    bench = ready()
    first, second = bench.call("oslo/1"), bench.call("oslo/2")
    bench.take()
    bench.decide(second)
    bench.end_reply(second)

    assert bench.take() == ["s1: END d2 (1)", "oslo/2: start"]
    bench.decide(first)
    assert bench.take() == ["s1: END d1 (1)"]


@pytest.mark.parametrize("verb", [Verb.SEND, Verb.RECEIVE, Verb.COMPLETE])
def test_who_takes_a_dialog_for_open_that_is_not_is_told_to_end_it(verb: Verb) -> None:
    """Traces T15 and T2: whatever the body says, it is not read."""
    bench = ready()
    bench.say(verb, b"", STRANGER, 3)

    assert bench.take() == ["s1: END d1 (3)"]


@pytest.mark.parametrize("verb", [Verb.END_REPLY, Verb.REFUSED, Verb.LOST])
def test_other_messages_of_a_dialog_that_is_not_open_are_dropped(verb: Verb) -> None:
    """Trace T22: no END↔LOST loop."""
    bench = ready()
    bench.say(verb, b"", STRANGER, 3)

    assert bench.take() == []
    assert {str(reason): n for reason, n in bench.counters.drops.items()} == {
        "dialog not open here": 1
    }


def test_a_late_verdict_of_the_last_call_does_not_reach_the_next_one() -> None:
    """Trap 2, trace T15."""
    bench = ready()
    last = bench.call()
    bench.hang_up()
    bench.end_reply(last)
    bench.wait(5)
    bench.call()
    bench.take()
    bench.decide(last)
    bench.ask(last)

    assert bench.take() == ["s1: END d1 (1)", "s1: END d1 (1)"]


# Losing a broker.


def test_a_lost_broker_has_all_dialogs_begun_at_the_next() -> None:
    bench = ready()
    bench.ask(bench.call("oslo/1"))
    bench.call("oslo/2")
    bench.take()
    bench.close("a")
    assert bench.take() == ["+b"]

    bench.open("b")
    assert bench.take() == ["s2: BEGIN d1 (2)", "s2: BEGIN d2 (2)", "-a"]


def test_a_verdict_accepted_before_the_broker_was_lost_stands() -> None:
    bench = ready()
    bench.decide(bench.call())
    bench.take()
    bench.close("a")

    assert bench.take() == ["oslo/1: start", "+b"]


def test_a_second_session_takes_over_at_once_when_the_home_is_lost() -> None:
    bench = ready(ports=2)
    bench.refuse(bench.call("oslo/1"))
    bench.open("b")
    bench.call("oslo/2")
    bench.take()
    bench.close("a")

    assert bench.take() == ["s2: BEGIN d2 (2)", "-a"]


def test_a_call_after_all_brokers_are_lost_waits_for_one() -> None:
    bench = ready("a")
    bench.close("a")
    bench.call()

    assert bench.take() == []


# Moving.


def test_a_draining_broker_is_left_at_once_for_one_that_is_open() -> None:
    bench = ready()
    bench.refuse(bench.call("oslo/1"))
    bench.open("b")
    bench.call("oslo/2")
    bench.take()
    bench.say(Verb.DRAIN, Drain(deadline_ms=10_000))

    assert bench.take() == ["s2: BEGIN d2 (2)", "-a"]


def test_a_drain_of_an_unknown_session_changes_nothing() -> None:
    bench = ready()
    bench.say(Verb.DRAIN, Drain(deadline_ms=10_000), session=9)

    assert bench.take() == []


def test_a_draining_broker_loses_the_open_dialogs_and_keeps_the_ending_ones() -> None:
    bench = ready(ports=3)
    bench.ask(bench.call("oslo/1"))
    decided = bench.call("oslo/2")
    bench.decide(decided)
    bench.call("oslo/3")
    bench.hang_up("oslo/3")
    bench.take()
    bench.say(Verb.DRAIN, Drain(deadline_ms=10_000))
    assert bench.take() == ["+b"]

    bench.open("b")
    assert bench.take() == ["s2: BEGIN d1 (2)"]
    bench.end_reply(decided)
    assert bench.take() == ["oslo/2: start"]
    bench.end_reply(bench.dialogs[2])
    assert bench.take() == ["-a"]


def test_an_agent_moves_home_from_the_sites_own_broker() -> None:
    bench = Bench("a", "x")
    bench.plug_in()
    bench.open("x")
    bench.call()
    bench.take()
    bench.open("a")

    assert bench.take() == ["s2: BEGIN d1 (2)", "-x"]


def test_a_new_home_takes_over_what_was_begun_at_a_broker_that_drains() -> None:
    bench = ready("abc", ports=2)
    decided = bench.call("oslo/1")
    bench.decide(decided)
    bench.say(Verb.DRAIN, Drain(deadline_ms=10_000))
    bench.open("b")
    offered = bench.call("oslo/2")
    bench.refuse(offered, session=2)
    bench.close("b")
    bench.take()
    bench.open("c")

    assert bench.take() == ["s3: BEGIN d2 (3)", "-b"]


# Offering.


def test_a_dialog_without_a_worker_is_offered_to_each_other_broker_once() -> None:
    bench = ready("abc")
    dialog = bench.call()
    bench.take()
    bench.refuse(dialog)
    assert bench.take() == ["+b"]
    bench.open("b")
    assert bench.take() == ["s2: BEGIN d1 (2)"]
    bench.refuse(dialog, 2, session=2)
    assert bench.take() == ["+c", "-b"]
    bench.open("c")
    assert bench.take() == ["s3: BEGIN d1 (3)"]
    bench.refuse(dialog, 3, session=3)

    assert bench.take() == ["-c"]
    assert bench.agent.lines["oslo/1"].reason == "undecided"


def test_an_agent_follows_the_first_worker_that_speaks_elsewhere() -> None:
    """Trace T19."""
    bench = ready()
    offered, other = bench.call("oslo/1"), bench.call("oslo/2")
    bench.refuse(offered)
    bench.open("b")
    bench.take()
    bench.lines.clear()
    bench.ask(offered, 2, session=2)

    assert bench.take() == ["s2: BEGIN d2 (2)", "-a"]
    assert [len(x.lines) for x in bench.lines] == [2]
    assert other == bench.dialogs[1]


def test_nobody_follows_a_broker_that_speaks_of_a_dialog_that_is_elsewhere() -> None:
    bench = ready()
    offered, other = bench.call("oslo/1"), bench.call("oslo/2")
    bench.refuse(offered)
    bench.open("b")
    bench.take()
    bench.ask(other, session=2)

    assert bench.take() == []
    assert bench.agent.brokers.link_of(bench.sessions["a"]) == "a"


def test_a_broker_that_took_an_offer_is_kept_while_its_dialog_waits_to_be_begun_again() -> None:
    bench = ready()
    dialog = bench.call()
    bench.refuse(dialog)
    bench.open("b")
    bench.lose(dialog, 2, session=2)
    bench.take()
    bench.lose(dialog, 3, session=2)
    assert bench.take() == []
    bench.wait(0.5)

    assert bench.take() == ["s2: BEGIN d1 (4)"]


def test_a_broker_that_does_not_answer_an_offer_is_passed_over() -> None:
    bench = ready("abc")
    bench.refuse(bench.call())
    bench.take()
    bench.wait(NEXT_S)

    assert bench.take() == ["+c", "-b"]


def test_with_a_single_broker_a_refusal_is_final() -> None:
    bench = ready("a")
    bench.refuse(bench.call())

    assert bench.agent.lines["oslo/1"].dialog is None


def test_a_caller_who_goes_while_his_dialog_is_offered_is_not_begun_for() -> None:
    bench = ready()
    bench.refuse(bench.call())
    bench.hang_up()
    bench.take()
    bench.open("b")

    assert bench.take() == ["-b"]


# Operators.


def test_a_hang_up_is_answered_when_the_port_is_ready_again() -> None:
    bench = ready()
    dialog = bench.call()
    bench.take()
    bench.command("hangup")
    assert bench.take() == ["s1: END d1 (1)"]
    bench.wait(3)
    assert bench.take() == []

    bench.end_reply(dialog)
    assert bench.take() == ["s1: COMMANDED 0"]


def test_a_reset_is_answered_when_the_modem_is_armed() -> None:
    bench = ready()
    bench.command("reset")
    assert bench.take() == []

    bench.wait(4)
    assert bench.take() == ["s1: COMMANDED 0"]


def test_a_reset_of_a_port_whose_device_is_gone_says_so() -> None:
    bench = ready()
    bench.do(bench.agent.closed("oslo/1", "unplugged", bench.now))
    bench.command("reset")
    bench.wait(ORDER_S)

    assert bench.take() == [f"s1: COMMANDED win:{Winerror.ERROR_DEVICE_NOT_CONNECTED}"]


def test_a_reset_fails_as_soon_as_the_device_does_not_open() -> None:
    bench = ready()
    bench.do(bench.agent.closed("oslo/1", "unplugged", bench.now))
    bench.command("reset")
    bench.command("reset", hport="oslo/2")
    bench.take()
    bench.do(bench.agent.closed("oslo/1", "no such device", bench.now))

    assert bench.take() == [f"s1: COMMANDED win:{Winerror.ERROR_DEVICE_NOT_CONNECTED}"]


@pytest.mark.parametrize(("act", "fields"), [("probe", {}), ("disable", {"mode": "busy"})])
def test_a_modem_that_is_not_there_is_asked_nothing(act: str, fields: dict[str, str]) -> None:
    bench = ready()
    bench.do(bench.agent.closed("oslo/1", "unplugged", bench.now))
    bench.command(act, **fields)

    assert bench.take() == [f"s1: COMMANDED win:{Winerror.ERROR_DEVICE_NOT_CONNECTED}"]


def test_a_closed_port_that_is_at_fault_says_both() -> None:
    bench = ready()
    bench.command("disable", reason="bad line")
    bench.do(bench.agent.closed("oslo/1", "unplugged", bench.now))
    line = bench.agent.lines["oslo/1"]

    assert (str(line.state), line.reason) == ("faulted", "unplugged (disable by eve: bad line)")


def test_an_order_for_all_ports_is_answered_when_the_last_has_done_it() -> None:
    bench = ready()
    first, second = bench.call("oslo/1"), bench.call("oslo/2")
    bench.take()
    bench.command("hangup", hport="")
    bench.end_reply(first)
    bench.wait(3)
    assert bench.take() == ["s1: END d1 (1)", "s1: END d2 (1)"]

    bench.end_reply(second)
    assert bench.take() == ["s1: COMMANDED 0"]


@pytest.mark.parametrize(
    ("act", "fields", "code"),
    [
        ("hangup", {}, Raserror.ERROR_PORT_NOT_CONNECTED.code),
        ("hangup", {"hport": "bergen/1"}, Raserror.ERROR_PORT_NOT_FOUND.code),
        ("probe", {}, NO_ERROR),
        ("disable", {"mode": "busy"}, NO_ERROR),
        ("disable", {}, NO_ERROR),
        ("enable", {}, NO_ERROR),
        ("drain", {"hport": ""}, NO_ERROR),
        ("rehome", {"hport": ""}, NO_ERROR),
    ],
)
def test_orders_are_answered_with_a_true_code(act: str, fields: dict[str, str], code: Code) -> None:
    bench = ready()
    bench.command(act, **fields)

    assert bench.take() == [f"s1: COMMANDED {code_text(code)}"]


def test_a_disabled_port_says_who_and_why() -> None:
    bench = ready()
    bench.command("disable", reason="bad line")
    line = bench.agent.lines["oslo/1"]

    assert (str(line.state), line.reason) == ("disabled", "disable by eve: bad line")
    bench.command("enable")
    assert str(line.state) == "idle"


def test_a_closure_that_is_not_on_the_disk_is_no_success() -> None:
    bench = ready()
    bench.kept = Winerror.ERROR_GEN_FAILURE.code
    bench.command("disable")

    assert bench.take() == [f"s1: COMMANDED {code_text(bench.kept)}"]


def test_a_port_is_as_closed_as_an_earlier_run_was_told() -> None:
    bench = Bench()
    bench.agent.restore(
        {"oslo/1": Closure("disable by eve", is_busy=True), "bergen/1": Closure("")}
    )
    bench.open("a")
    bench.plug_in()
    line = bench.agent.lines["oslo/1"]

    assert (str(line.state), line.reason) == ("disabled", "disable by eve")
    assert line.modem.state is ModemState.OFF_HOOK
    assert str(bench.agent.lines["oslo/2"].state) == "idle"


def test_a_busy_port_is_on_hook_again_when_it_is_enabled() -> None:
    bench = ready()
    bench.command("disable", mode="busy")
    assert bench.agent.lines["oslo/1"].modem.state is ModemState.OFF_HOOK

    bench.command("enable")
    bench.wait(4)

    assert bench.agent.lines["oslo/1"].modem.state is ModemState.IDLE


def test_a_modem_that_takes_no_ath1_fails_the_order_and_stays_disabled() -> None:
    bench = ready()
    bench.refuses = b"ATH1"
    bench.command("disable", mode="busy")

    assert bench.take() == [f"s1: COMMANDED win:{Winerror.ERROR_GEN_FAILURE}"]
    assert str(bench.agent.lines["oslo/1"].state) == "disabled"


def test_a_disabled_port_that_cannot_be_busy_says_that_it_rings() -> None:
    bench = ready()
    bench.refuses = b"ATH1"
    bench.command("disable", mode="busy")

    rings = "can't be busy, and rings: ATH1: "
    assert bench.agent.lines["oslo/1"].reason.startswith(f"disable by eve; {rings}")


@pytest.mark.parametrize(
    ("act", "fields"), [("drain", {"hport": ""}), ("disable", {"mode": "busy"})]
)
def test_what_is_for_the_next_call_is_answered_during_this_one(
    act: str, fields: dict[str, str]
) -> None:
    bench = ready()
    bench.call("oslo/1")
    bench.take()
    bench.command(act, **fields)

    assert bench.take() == ["s1: COMMANDED 0"]


def test_a_probe_during_a_call_is_refused() -> None:
    bench = ready()
    bench.call()
    bench.take()
    bench.command("probe")

    assert bench.take() == [f"s1: COMMANDED win:{Winerror.ERROR_BUSY}"]


def test_what_a_modem_said_to_a_probe_is_told_to_observers() -> None:
    bench = ready()
    bench.command("probe")

    told = bench.lines[-1].lines[0].detail
    assert isinstance(told, dict)
    assert told["init_answers"][-1] == {"command": "AT", "answer": "OK", "ms": 0}


def test_an_order_that_cannot_be_read_is_dropped() -> None:
    bench = ready()
    bench.say(Verb.COMMAND, b"\x80")

    assert bench.take() == []


def test_a_broker_that_is_lost_gets_no_answer_to_its_order() -> None:
    bench = ready()
    bench.call()
    bench.command("hangup")
    bench.close("a")
    bench.take()
    bench.wait(ORDER_S)

    assert "s1: COMMANDED 0" not in bench.take()


# The end.


def test_a_drained_agent_lets_calls_end_and_answers_none() -> None:
    bench = ready()
    dialog = bench.call("oslo/1")
    bench.decide(dialog)
    bench.end_reply(dialog)
    bench.take()
    bench.do(bench.agent.drain(bench.now))
    bench.do(bench.agent.receive("oslo/2", b"\r\nRING\r\n", bench.now))
    assert bench.take() == []

    bench.hang_up("oslo/1")
    assert bench.take() == ["oslo/1: stop"]
    bench.do(bench.agent.service_ended("oslo/1", "", bench.now))
    bench.wait(3)
    assert bench.take() == ["-a", "finished"]


def test_a_drained_agent_waits_for_a_call_that_is_being_answered() -> None:
    bench = ready()
    bench.do(bench.agent.receive("oslo/1", b"\r\nRING\r\n", bench.now))
    bench.do(bench.agent.drain(bench.now))
    assert bench.take() == []

    bench.do(bench.agent.receive("oslo/1", b"\r\nNO CARRIER\r\n", bench.now))
    bench.wait(3)
    assert bench.take() == ["-a", "finished"]


def test_an_agent_without_calls_is_drained_at_once() -> None:
    bench = ready()
    bench.do(bench.agent.drain(bench.now))

    assert bench.take() == ["-a", "finished"]


def test_a_stopping_agent_ends_every_dialog_and_waits_for_the_answers() -> None:
    bench = ready()
    first, second = bench.call("oslo/1"), bench.call("oslo/2")
    bench.take()
    bench.do(bench.agent.stop(bench.now))
    assert bench.take() == ["s1: END d1 (1)", "s1: END d2 (1)"]
    bench.end_reply(first)
    bench.wait(3)
    assert bench.take() == []

    bench.end_reply(second)
    assert bench.take() == ["-a", "finished"]


def test_a_stopping_agent_waits_for_the_leases_at_most() -> None:
    bench = ready()
    bench.call()
    bench.do(bench.agent.stop(bench.now))
    bench.take()
    bench.wait(4 + 3 * 0.5)

    assert bench.take() == ["-a", "finished"]


# What ports tell, beside what is read from them.


def test_modem_lines_drained_writes_and_services_reach_their_line() -> None:
    bench = ready()
    dialog = bench.call()
    bench.decide(dialog)
    bench.end_reply(dialog)
    bench.do(bench.agent.service_output("oslo/1", b"$ ", bench.now))
    lines = ModemLines(dcd=False, dsr=True, ri=False, cts=True)
    bench.do(bench.agent.lines_changed("oslo/1", lines, bench.now))
    bench.take()
    bench.do(bench.agent.service_ended("oslo/1", "", bench.now))
    line = bench.agent.lines["oslo/1"]
    assert line.stage is Stage.LAST_WORD

    bench.do(bench.agent.drained("oslo/1", bench.now))
    assert line.stage is Stage.NONE


# Time.


def test_an_idle_agent_has_nothing_to_wait_for() -> None:
    bench = ready()
    bench.wait(20)  # Timers that came too early are looked at once.

    assert bench.agent.deadline() == math.inf


def test_timers_of_many_lines_come_in_order() -> None:
    bench = ready(ports=8)
    for number in range(1, 9):
        bench.call(f"oslo/{number}")
        bench.hang_up(f"oslo/{number}")
        bench.wait(0.1)
    bench.take()
    bench.wait(20)

    assert {str(line.state) for line in bench.agent.lines.values()} == {"idle"}


def test_line_settings_are_the_ports() -> None:
    line = ready().agent.lines["oslo/2"]

    assert isinstance(line.settings, LineSettings)
    assert line.settings.hport == "oslo/2"


# The site's own brokers.


def test_an_admission_by_the_sites_own_broker_is_counted_and_in_the_call() -> None:
    bench = ready("a", "x")
    bench.close("a")
    bench.wait(NEXT_S)
    bench.open("x")
    assert bench.agent.brokers.is_home_local
    dialog = bench.call()
    bench.decide(dialog, session=2)
    bench.end_reply(dialog, session=2)

    call = bench.agent.lines["oslo/1"].call
    assert call is not None
    assert call.dialog is not None
    assert call.dialog.is_local
    assert bench.counters.local_admissions == 1
    assert bench.counters.local_admitted_at == bench.now


def test_neither_a_refusal_there_nor_an_admission_elsewhere_is_counted() -> None:
    bench = ready("a", "x")
    dialog = bench.call()
    bench.decide(dialog)
    bench.end_reply(dialog)
    bench.close("a")
    bench.wait(NEXT_S)
    bench.open("x")
    other = bench.call("oslo/2")
    refusal = Complete(
        worker=W, msg_id=FAILURE, error=NO_ERROR, username="ann", domain="", attributes={}
    )
    bench.say(Verb.COMPLETE, refusal, other, 1, 2)
    bench.end_reply(other, session=2)

    assert bench.counters.local_admissions == 0
    assert bench.counters.local_admitted_at is None


def test_a_dialog_that_went_back_to_the_centre_is_not_a_local_one() -> None:
    bench = ready("a", "x")
    bench.close("a")
    bench.wait(NEXT_S)
    bench.open("x")
    dialog = bench.call()
    bench.ask(dialog, session=2)
    bench.open("a")
    bench.decide(dialog, attempt=2, session=3)
    bench.end_reply(dialog, attempt=2, session=3)

    call = bench.agent.lines["oslo/1"].call
    assert call is not None
    assert call.dialog is not None
    assert not call.dialog.is_local
    assert not bench.agent.brokers.is_home_local
    assert bench.counters.local_admissions == 0
    assert "oslo/1: start" in bench.take()


def test_records_wait_for_a_broker_of_the_cluster() -> None:
    """What the site's own broker would store is in nobody's table at the centre."""
    bench = ready("a", "x")
    bench.close("a")
    bench.wait(NEXT_S)
    bench.do(bench.agent.records.loaded([], bench.now))
    before = bench.loads
    bench.open("x")
    assert bench.loads == before

    bench.open("a")

    assert bench.loads == before + 1


def test_a_drain_is_for_the_restart_that_follows_and_is_not_kept() -> None:
    """What an operator has disabled stays so over restarts; what he drains shall answer again."""
    bench = ready()
    bench.kept = Winerror.ERROR_GEN_FAILURE.code
    bench.command("drain", hport="", reason="upgrade")

    assert bench.take() == ["s1: COMMANDED 0"]
    assert {str(line.state) for line in bench.agent.lines.values()} == {"disabled"}
    assert all(line.closure is None for line in bench.agent.lines.values())

    bench.kept = NO_ERROR
    bench.command("enable", hport="")
    assert {str(line.state) for line in bench.agent.lines.values()} == {"idle"}
