"""One worker of a small world: its core, and tasks that let in whoever answers.

A task that nobody hears any more is kept for 30 s; here it is over at any moment when no message is
under way (`expire`), which is more than can happen, and fewer states.
"""

from __future__ import annotations

import math
from typing import Any

from auth_workers.session import Worker
from auth_workers.session_actions import Answer, CancelTask, StartTask
from auth_workers.session_dialog import Question, State
from auth_workers.verdict import Granted
from dialgate.codes import NO_ERROR
from dialgate.session import Transmit
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from tests.simulator.small_world.parts import (
    BROKERS,
    Broken,
    Facts,
    Input,
    Part,
    Word,
    free_number,
)
from tests.simulator.small_world.told import WELCOME

__all__ = ["Desk"]


class Desk(Part):
    """One worker, whose tasks ask once, by its name, and let in whoever answers them.

    Args:
        name: one of `WORKERS`.
        life: how many processes of that kind there were.
        delays_end: whether its tasks go on behind END.
    """

    def __init__(self, name: str, life: int, *, delays_end: bool) -> None:
        super().__init__()
        self.delays_end = delays_end
        self.instance = f"{name}.life{life:03}".encode()
        # No task is ended by its age: the agent ends the dialog when it is as old.
        self.core = Worker(self.instance, capacity=4, links=len(BROKERS), dialog_max_s=math.inf)
        self.sessions: dict[str, int] = {}

    def take(self, what: Input) -> None:
        core = self.core
        match what:
            case ("message", broker, message):
                [(verb, dialog, attempt, body, _)], _ = decode_frame(message)
                number = self.sessions[broker]
                self.do(core.message(number, verb, dialog, attempt, body, self.now))
            case ("over", broker):
                self.do(core.session_closed(self.sessions.pop(broker), NO_ERROR, self.now))
            case ("open", broker):
                used = {*self.sessions.values(), *(x.session for x in core._tasks.values())}
                self.sessions[broker] = number = free_number(broker, used)
                self.do(core.session_opened(broker, number, WELCOME, self.now))
            case ("finish", task):
                self.do(core.finished(task, self.now))
            case ("expire",):
                next(iter(core._silent.values())).lost_at = -math.inf
                self.do(core.tick(self.now))
            case ("forget", dialogs):
                for each in dialogs:
                    del core.attempts._kept[each]
            case ("pass", passed_s):
                self.pass_time(passed_s)
                self.do(core.tick(self.now))
            case _:
                raise AssertionError(what)
        for each in core._tasks.values():
            each.lost_at = math.inf  # `expire` is when its time is over.

    def do(self, actions: list[Any]) -> None:
        core = self.core
        for action in actions:
            match action:
                case Transmit(session, message):
                    said = Word("credit") if message[1] == Verb.READY else message
                    self.said += [(x, said) for x, n in self.sessions.items() if n == session]
                case StartTask(task=task):
                    core.delay_end(task, on=self.delays_end)
                    self.do(core.receive(task, Question(self.instance, 64, 0, b"asked"))[1])
                case Answer(task=task, data=data):
                    user, question = data.split(b" to ")
                    if question != self.instance:
                        raise Broken(f"I5: an answer to {question!r} is taken for another's")
                    self.do(core.complete(task, Granted(user.decode()), self.now))
                    if not self.delays_end:
                        self.do(core.finished(task, self.now))
                case CancelTask(task=task):
                    self.do(core.finished(task, self.now))
                case _:
                    pass

    def due(self) -> float:
        ended = [x for x in self.core._tasks.values() if x.state is State.DELAYED]
        return min([x.ended_at + x.lease_s for x in ended], default=math.inf)

    def settle(self) -> None:
        core = self.core
        new = {old: index + 1 for index, old in enumerate(core._tasks)}
        for dialog in core._tasks.values():
            dialog.task = new[dialog.task]
            if dialog.silent and dialog.session not in self.sessions.values():
                dialog.session = 0
            if dialog.state is not State.DELAYED:
                dialog.ended_at = math.inf
        for table in (core._tasks, core._silent, core._ended):
            kept = [(new[old], each) for old, each in table.items()]
            table.clear()
            table.update(kept)
        core._last_task = len(new)
        self.sessions = dict(sorted(self.sessions.items()))
        for account in core.credit._accounts.values():
            account.granted, account.spent = account.unspent, 0

    def facts(self) -> Facts:
        core = self.core
        accounts = core.credit._accounts
        tasks = core._tasks.items()
        outline = [(x.dialog, x.attempt, x.state.value, x.silent) for x in core._tasks.values()]
        return Facts(
            outline=(*sorted(self.sessions), *sorted(outline)),
            due_s=self.due_s(),
            unrest="I4: a worker keeps a task" if core.open_dialogs else "",
            instance=self.instance,
            remembers=frozenset(core.attempts._kept),
            delayed=tuple(task for task, x in tasks if x.state is State.DELAYED and x.alive),
            is_kept=bool(core._silent),
            unspent=tuple((link, accounts[n].unspent) for link, n in self.sessions.items()),
        )
