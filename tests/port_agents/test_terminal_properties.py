"""What holds for any input: reads may be split anywhere, and a naive model agrees at every step.

Method: the model looks at the whole of what was typed, a byte at a time; a virtual screen shows
what the echo comes to. The last test plants bugs and wants each of them found.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dialgate.codes import NO_ERROR, Winerror
from port_agents.terminal import TYPE_AHEAD_BYTES_MAX, Action, Answered, Ask, Terminal, Write

Echo = Literal["on", "off", "mask"]

ESCAPES: Final = re.compile(rb"\x1b[ -/]*(?:\[[ -?]*[@-~]?|O[ -~]?|[0-~])?")

ENDS: Final = [b"\r", b"\n", b"\r\n", b"\r\0"]
EDITS: Final = [b"\b", b"\x7f", b"\x15", b"\x18"]
NOISE: Final = [b"\x1b[A", b"\x1bOP", b"\x1bx", b"\x03", b"\x00"]

ATOMS: Final = [b"a", b"bc", b" ", b"\xf8", *ENDS, *EDITS, *NOISE]

typing = st.lists(st.sampled_from(ATOMS), max_size=12).map(b"".join)
echoes: st.SearchStrategy[Echo] = st.sampled_from(["on", "off", "mask"])


def screen(written: bytes) -> list[bytes]:
    """Return the lines that a terminal shows after `written`, without trailing spaces."""
    lines, column = [bytearray()], 0
    for byte in written:
        match byte:
            case 0x08:
                column = max(0, column - 1)
            case 0x0D:
                column = 0
            case 0x0A:
                lines.append(bytearray())
            case _:
                lines[-1][column : column + 1] = bytes([byte])
                column += 1
    return [bytes(shown).rstrip() for shown in lines]


def edited(typed: bytes) -> bytes:
    """Return what is left of a line's bytes after its editing."""
    kept = bytearray()
    for byte in ESCAPES.sub(b"", typed):
        match byte:
            case 0x08 | 0x7F:
                del kept[-1:]
            case 0x15 | 0x18:
                kept.clear()
            case _ if byte >= 0x20:
                kept.append(byte)
    return bytes(kept)


def is_noise(typed: bytes) -> bool:
    """Return whether nothing in `typed` edits or is text."""
    return not re.sub(rb"[\x00-\x07\x09-\x14\x16\x17\x19-\x1f]", b"", ESCAPES.sub(b"", typed))


def lines_of(typed: bytes) -> list[bytes]:
    """Return the finished lines of all that was typed."""
    lines: list[bytes] = []
    after_cr, start = False, 0
    for position, byte in enumerate(typed):
        if byte in b"\r\n":
            text = typed[start:position]
            start = position + 1
            if not (byte == 0x0A and after_cr and is_noise(text)):
                lines.append(edited(text))
            after_cr = byte == 0x0D
    return lines


def transcript(reads: list[bytes], echo: Echo, limit: int) -> tuple[list[bytes], bytes, int]:
    """Ask again after each answer; return the answers, all output and the controls ignored."""
    terminal = Terminal()
    answers: list[bytes] = []
    written = b""
    seq = 1
    actions = terminal.ask(Ask(seq, b"", "line", echo, limit, 0), 0.0)
    waiting = list(reads)
    while True:
        written += b"".join(action.data for action in actions if isinstance(action, Write))
        for action in actions:
            if isinstance(action, Answered):
                answers.append(action.data)
                seq += 1
        if any(isinstance(action, Answered) for action in actions):
            actions = terminal.ask(Ask(seq, b"", "line", echo, limit, 0), 0.0)
        elif waiting:
            actions = terminal.receive(waiting.pop(0), 0.0)
        else:
            return answers, written, terminal.counters.controls_ignored


def split(typed: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(typed) + 1) for cut in cuts})
    return [typed[a:b] for a, b in zip([0, *places], [*places, len(typed)], strict=True)]


@given(st.binary(max_size=200) | typing, st.lists(st.integers(0, 200), max_size=20), echoes)
def test_any_split_of_the_input_into_reads_gives_the_same_answers_and_the_same_echo(
    typed: bytes, cuts: list[int], echo: Echo
) -> None:
    whole = transcript([typed], echo, limit=20)

    assert transcript(split(typed, cuts), echo, limit=20) == whole
    assert transcript([bytes([byte]) for byte in typed], echo, limit=20) == whole


@given(st.binary(max_size=200) | typing, echoes)
def test_answers_are_the_lines_that_were_typed(typed: bytes, echo: Echo) -> None:
    answers, _, _ = transcript([typed], echo, limit=1000)

    assert answers == lines_of(typed)


@given(typing)
def test_the_screen_shows_what_is_answered(typed: bytes) -> None:
    lines = [*lines_of(typed + b"\x15"), b""]

    _, plain, _ = transcript([typed + b"\x15"], "on", limit=1000)
    _, masked, _ = transcript([typed + b"\x15"], "mask", limit=1000)
    _, silent, _ = transcript([typed + b"\x15"], "off", limit=1000)

    assert screen(plain) == [shown.rstrip() for shown in lines]
    assert screen(masked) == [b"*" * len(shown) for shown in lines]
    assert silent == b"\r\n" * (len(lines) - 1)


@given(st.binary(max_size=500), echoes)
def test_no_control_character_of_a_caller_is_ever_echoed(typed: bytes, echo: Echo) -> None:
    _, written, _ = transcript([typed], echo, limit=100)

    bare = written.replace(b"\b \b", b"").replace(b"\r\n", b"")
    assert all(byte >= 0x20 and byte != 0x7F for byte in bare)


class TerminalMachine(RuleBasedStateMachine):
    """A terminal beside a model that keeps what was typed as one string."""

    factory: type[Terminal] = Terminal

    def __init__(self) -> None:
        super().__init__()
        self.terminal = self.factory()
        self.now = 0.0
        self.seq = 0
        self.request: Ask | None = None
        self.deadline: float | None = None
        self.pending = b""
        """Typed and not answered; edited as far as a line request has seen it."""
        self.after_cr = False

    @rule(typed=typing)
    def type(self, typed: bytes) -> None:
        self.pending += typed
        self.check(self.terminal.receive(typed, self.now))

    @rule(
        mode=st.sampled_from(["line", "line", "raw"]),
        echo=echoes,
        limit=st.sampled_from([1, 2, 5, 100]),
        timeout_s=st.sampled_from([0, 1, 1, 2]),
        discard=st.sampled_from([False, False, True]),
    )
    def ask(
        self,
        mode: Literal["line", "raw"],
        echo: Echo,
        limit: int,
        timeout_s: int,
        discard: bool,
    ) -> None:
        self.seq += 1
        self.deadline = None
        self.request = Ask(self.seq, b"? ", mode, echo, limit, timeout_s, discard)
        if discard:
            self.after_cr = self.pending.endswith(b"\r") or (self.after_cr and not self.pending)
            self.pending = b""
        actions = self.terminal.ask(self.request, self.now)
        assert isinstance(actions[0], Write)
        assert actions[0].data.startswith(b"\r\n? " if discard else b"? ")
        self.check(actions)

    @rule(written=st.booleans(), elapsed_s=st.sampled_from([1.0, 3.0]))
    def wait(self, written: bool, elapsed_s: float) -> None:
        if written:
            self.terminal.prompt_written(self.now)
            if self.request is not None and self.request.timeout_s and self.deadline is None:
                self.deadline = self.now + self.request.timeout_s
        self.now += elapsed_s
        actions = self.terminal.tick(self.now)
        if self.request is not None and self.deadline is not None and self.now >= self.deadline:
            assert actions == [Answered(self.request.seq, Winerror.ERROR_TIMEOUT.code, b"")]
            self.request = self.deadline = None
            self.pending = b""
        else:
            assert actions == []

    @rule(how=st.sampled_from(["cancel", "cancel", "reset", "hand over"]))
    def end(self, how: str) -> None:
        self.request = self.deadline = None
        match how:
            case "cancel":
                self.terminal.cancel()
            case "reset":
                self.terminal.reset()
                self.pending, self.after_cr = b"", False
            case _:
                self.terminal.cancel()
                owed = self.after_cr and self.pending[:1] in (b"\n", b"\0")
                assert self.terminal.take_type_ahead() == self.pending[owed:]
                if self.pending:
                    self.after_cr = self.pending.endswith(b"\r")
                self.pending = b""

    @invariant()
    def deadlines_agree(self) -> None:
        assert self.terminal.deadline() == self.deadline

    @invariant()
    def what_is_kept_is_bounded(self) -> None:
        limit = self.request.limit if self.request is not None else 0
        kept = len(self.terminal._line) + len(self.terminal._ahead)
        assert kept <= limit + TYPE_AHEAD_BYTES_MAX

    def check(self, actions: list[Action]) -> None:
        """Compare the answer among `actions` with the model's, and look at what was echoed."""
        answers = [action for action in actions if isinstance(action, Answered)]
        request = self.request
        expected = None
        if request is not None:
            expected = self.raw(request) if request.mode == "raw" else self.line(request)
        assert answers == ([] if expected is None else [expected])
        if expected is not None:
            self.request = self.deadline = None
        shown = b"".join(action.data for action in actions if isinstance(action, Write))
        if request is None or request.echo == "off":
            assert re.fullmatch(rb"(\r\n)?(\? )?(\r\n)?", shown)
        elif request.echo == "mask":
            assert re.fullmatch(rb"(\r\n)?(\? )?(\*|\x08 \x08)*(\r\n)?", shown)

    def raw(self, request: Ask) -> Answered | None:
        if self.after_cr and self.pending[:1] in (b"\n", b"\0"):
            self.pending = self.pending[1:]
            self.after_cr = False
        if not self.pending:
            return None
        data, self.pending = self.pending[: request.limit], self.pending[request.limit :]
        self.after_cr = False
        return Answered(request.seq, NO_ERROR, data)

    def line(self, request: Ask) -> Answered | None:
        while (end := re.search(rb"[\r\n]", self.pending)) is not None:
            typed, self.pending = self.pending[: end.start()], self.pending[end.end() :]
            swallowed = end.group() == b"\n" and self.after_cr and is_noise(typed)
            self.after_cr = end.group() == b"\r"
            if swallowed:
                continue
            text = edited(typed)
            if len(text) <= request.limit:
                return Answered(request.seq, NO_ERROR, text)
            self.pending = text[request.limit :] + end.group() + self.pending
            return Answered(request.seq, Winerror.ERROR_MORE_DATA.code, text[: request.limit])
        self.after_cr = self.after_cr and is_noise(self.pending)
        self.pending = edited(self.pending)
        return None


TestTerminal = TerminalMachine.TestCase
TestTerminal.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=25)


class KeepsTheLineAfterATimeOut(Terminal):
    def tick(self, now: float) -> list[Action]:
        line = bytes(self._line)
        actions = super().tick(now)
        self._line[:] = line
        return actions


class AnswersTwice(Terminal):
    def _answer(self, request: Ask, status: object, data: bytes) -> Answered:
        return Answered(request.seq, NO_ERROR, data)


class LosesTheRest(Terminal):
    def _keep(self, typed: bytes) -> None:
        if self._request is None and not self._ahead:
            super()._keep(typed)


class EndsALineTwice(Terminal):
    def receive(self, data: bytes, now: float) -> list[Action]:
        self._after_cr = False
        return super().receive(data, now)


class KeepsWhatIsDiscarded(Terminal):
    def _discard(self) -> None:
        self._ahead.clear()


class ForgetsWhatWasTypedOnCancel(Terminal):
    def cancel(self) -> None:
        super().cancel()
        self._line.clear()


class TimesFromTheAsk(Terminal):
    def ask(self, request: Ask, now: float) -> list[Action]:
        actions = super().ask(request, now)
        self.prompt_written(now)
        return actions


class EchoesAPassword(Terminal):
    def _append(self, request: Ask, text: bytes) -> bytes:
        super()._append(request, text)
        return text


PLANTED: Final[list[type[Terminal]]] = [
    KeepsTheLineAfterATimeOut,
    AnswersTwice,
    LosesTheRest,
    EndsALineTwice,
    KeepsWhatIsDiscarded,
    ForgetsWhatWasTypedOnCancel,
    TimesFromTheAsk,
    EchoesAPassword,
]


def walk(terminal: type[Terminal], seed: int, steps: int = 25) -> None:
    """Let a seed pick the moves: the same ones at every run, and many more a second."""
    chance = random.Random(seed)
    machine = type("Walked", (TerminalMachine,), {"factory": terminal})()

    def ask() -> None:
        mode: Literal["line", "raw"] = chance.choice(["line", "line", "raw"])
        echo: Echo = chance.choice(["on", "off", "mask"])
        limit, timeout_s = chance.choice([1, 2, 5, 100]), chance.choice([0, 1, 1, 2])
        machine.ask(mode, echo, limit, timeout_s, discard=chance.random() < 0.3)

    moves: list[Callable[[], object]] = [
        lambda: machine.type(b"".join(chance.choices(ATOMS, k=chance.randrange(6)))),
        ask,
        lambda: machine.wait(chance.random() < 0.5, chance.choice([1.0, 3.0])),
        lambda: machine.end(chance.choice(["cancel", "cancel", "reset", "hand over"])),
    ]
    for _ in range(steps):
        chance.choice(moves)()
        machine.deadlines_agree()
        machine.what_is_kept_is_bounded()


def walks(terminal: type[Terminal], number: int) -> None:
    for seed in range(number):
        walk(terminal, seed)


def test_walks() -> None:
    walks(Terminal, 4 * settings().max_examples)


@pytest.mark.interpreted
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bug_is_found(planted: type[Terminal]) -> None:
    with pytest.raises(AssertionError):
        walks(planted, 2000)
