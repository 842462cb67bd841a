"""How simulated workers tell callers apart: real policies, the real local authenticator.

Replaced are the users' table, which is one user a name, and the hashing of passwords, which is a
look at the answer: it says of itself whose it is and whether it is right.  So whoever checks an
answer can be held against who typed it.

Invariant: an answer is compared here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

from auth_workers.authenticators import Login, Result, Unavailable
from auth_workers.authenticators.local import Local
from auth_workers.dialog import Dialog
from auth_workers.hashing import HashingPool
from auth_workers.policy import Policies
from auth_workers.verdict import Granted, Verdict
from dialgate.errors import StateError
from dialgate.settings import PolicySettings
from dialgate.users import User
from simulator.telephone import SECRET

__all__ = ["TRIES", "Desk", "Ledger"]

TRIES: Final = 3
EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Ledger(Protocol):
    """Who is told of what desks do."""

    def state_fault(self) -> str:
        """Return why the shared state can't be asked; empty if it can."""
        ...

    def charged(self, dialog: Dialog) -> None:
        """Hear that a try of a call is charged."""
        ...

    def checked(self, dialog: Dialog, number: str, answer: str) -> None:
        """Hear that a caller's answer is compared."""
        ...

    def accepted(self, dialog: Dialog, user: str, number: str) -> None:
        """Hear that a worker lets somebody in because of his answer."""
        ...

    def poisoned(self, dialog: Dialog, number: str) -> None:
        """Hear that an answer kills its worker now."""
        ...


class Desk:
    """What one worker's dialogs are conducted by.

    Args:
        ledger: is told.
        die: kills the worker.
    """

    def __init__(self, ledger: Ledger, die: Callable[[], None]) -> None:
        self.argon2: Final = self
        self.decoy: Final = ""
        self._ledger = ledger
        self._die = die
        self._dialogs: dict[asyncio.Task[Any] | None, tuple[Dialog, str]] = {}
        """By task: its dialog, and the caller whose answer it compared last."""
        pool = cast("HashingPool", self)
        self._policies = Policies(
            [PolicySettings(authenticators=("local",), tries=TRIES, login_timeout_s=20)],
            {"local": Local(self, pool)},
            self,
            clock=lambda: EPOCH,
        )

    async def conduct(self, dialog: Dialog) -> Verdict:
        """Conduct a dialog, and tell of its outcome."""
        task = asyncio.current_task()
        self._dialogs[task] = (dialog, "")
        try:
            verdict = await self._policies.conduct(dialog)
            if isinstance(verdict, Granted):
                self._ledger.accepted(dialog, verdict.user, self._dialogs[task][1])
            return verdict
        finally:
            del self._dialogs[task]

    async def charge(self, login: Login) -> Unavailable | None:
        """Charge a try in the shared state, before its guess may be checked."""
        if fault := self._ledger.state_fault():
            return Unavailable(fault)
        self._ledger.charged(login.dialog)
        return None

    async def settle(self, _login: Login, result: Result) -> Result:
        """Return what a try came to: nobody is locked out here."""
        return result

    async def matches(self, known: str, password: bytes) -> bool:
        """Compare an answer with what is known of a user."""
        task = asyncio.current_task()
        dialog, _ = self._dialogs[task]
        parts = password.decode("latin-1").split("-")
        if parts[0] != SECRET or len(parts) != 5:  # noqa: PLR2004
            return False  # Rubbish, of which nobody says anything.
        _, kind, user, number, _ = parts
        self._dialogs[task] = (dialog, number)
        self._ledger.checked(dialog, number, password.decode())
        if kind == "poison":
            self._ledger.poisoned(dialog, number)
            self._die()
            await asyncio.get_running_loop().create_future()
        return kind == "right" and user == known

    def is_outdated(self, _known: str) -> bool:
        """Return False: every hash is of today's cost."""
        return False

    async def find(self, name: str) -> User | None:
        """Return the user of this name; all users of the world are alike."""
        if fault := self._ledger.state_fault():
            raise StateError(fault)
        if not name.startswith("user"):
            return None
        return User(name, name, disabled=False, created=EPOCH, changed=EPOCH)

    async def replace_hash(self, _user: User, _password_hash: str) -> None:
        """Refuse: no hash is outdated here."""
        raise AssertionError

    async def change_password(self, _user: User, _password_hash: str) -> bool:
        """Refuse: no password is to be changed here."""
        raise AssertionError
