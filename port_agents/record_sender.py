"""Which records of the spool are sent to a broker, and when (protocol §8).

Pure: the shell reads the spool and sends; this says what.  Records go in the order in which they
were made, at most `WINDOW` of them unanswered, by the session that the agent's calls go by.  A
record is answered by RECORDED.  Where that does not come, because the broker can't store it or has
gone, everything that is still in the spool unstored is sent again, from the oldest on: delivery is
at least once, and the broker's table sees to it that it is stored once.

Invariant: a record is marked as stored only when a broker has named it in RECORDED.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from dialgate.errors import BodyError
from dialgate.session import Transmit
from dialgate.wire.bodies import Recorded
from dialgate.wire.body_codec import decode_body

__all__ = ["LoadRecords", "MarkStored", "RecordAction", "RecordSender", "Spooled", "hold_reason"]

WINDOW: Final = 64
"""Most records that wait for RECORDED at a time: at 16 KiB each, no more than 1 MiB."""
RESEND_S: Final = 30.0
"""How long RECORDED may take until a record is sent again."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """An unstored record."""

    number: int
    """Its place in the spool; a later one has a higher number."""
    record: bytes
    message: bytes = field(repr=False)
    """RECORD, encoded."""


@dataclass(frozen=True, slots=True)
class LoadRecords:
    """Read the oldest unstored records behind number `after`; `loaded` follows."""

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class MarkStored:
    """Note in the spool that these records are stored."""

    records: tuple[bytes, ...]


RecordAction = LoadRecords | MarkStored | Transmit


class RecordSender:
    """The records that are on their way.  Each input returns the actions to perform, in order."""

    def __init__(self) -> None:
        self.bad_bodies = 0
        """RECORDEDs that could not be read."""
        self.is_overdue = False
        """Whether a record was not stored in time, and none was since."""
        self._session: int | None = None
        self._sent: dict[bytes, float] = {}
        """When each record was sent that waits for RECORDED; the first sent comes first."""
        self._after = 0
        """Number of the last record that was loaded in this round."""
        self._has_more = True
        """Whether there may be unstored records behind it."""
        self._has_news = False
        """Whether records were kept while others were being loaded."""
        self._loading: LoadRecords | None = None
        self._is_stale = False
        """Whether what is being loaded was asked for before a new round began."""

    @property
    def unanswered(self) -> int:
        """How many records wait for RECORDED."""
        return len(self._sent)

    def use(self, session: int | None) -> list[RecordAction]:
        """Send by this session from now on; None: there is none."""
        if session == self._session:
            return []
        self._session = session
        self._sent.clear()
        return self._begin_anew()

    def kept(self) -> list[RecordAction]:
        """Take note that there are new records in the spool."""
        self._has_more = True
        self._has_news = self._loading is not None
        return self._load()

    def loaded(self, records: Sequence[Spooled], now: float) -> list[RecordAction]:
        """Take what `LoadRecords` asked for; fewer than its limit: there are no more."""
        asked, self._loading = self._loading, None
        assert asked is not None, "nothing is loaded unasked"
        if self._is_stale:
            self._is_stale = False
            return self._load()
        self._has_more = len(records) == asked.limit or self._has_news
        self._has_news = False
        actions: list[RecordAction] = []
        for each in records:
            self._after = each.number
            if each.record not in self._sent and self._session is not None:
                self._sent[each.record] = now
                actions.append(Transmit(self._session, each.message))
        return actions + self._load()

    def recorded(self, body: bytes) -> list[RecordAction]:
        """Take a RECORDED, by whatever session it comes: what is stored is stored."""
        try:
            records = decode_body(body, Recorded).records
        except BodyError:
            self.bad_bodies += 1
            return []
        for record in records:
            self._sent.pop(record, None)
        self.is_overdue = False
        return [MarkStored(records), *self._load()] if records else []

    def tick(self, now: float) -> list[RecordAction]:
        """Send again what was not answered in time."""
        if now < self.deadline():
            return []
        self.is_overdue = True
        self._sent = {x: at for x, at in self._sent.items() if now < at + RESEND_S}
        return self._begin_anew()

    def deadline(self) -> float:
        """Return when `tick` is due; `math.inf` if it isn't."""
        return next(iter(self._sent.values())) + RESEND_S if self._sent else math.inf

    def _begin_anew(self) -> list[RecordAction]:
        self._after = 0
        self._has_more = True
        self._is_stale = self._loading is not None
        return self._load()

    def _load(self) -> list[RecordAction]:
        room = WINDOW - len(self._sent)
        if self._session is None or self._loading or not self._has_more or room <= 0:
            return []
        self._loading = LoadRecords(self._after, room)
        return [self._loading]


def hold_reason(policy: str, *, is_full: bool, is_overdue: bool) -> str:
    """Return why no calls are answered for want of a place for their records; empty: they are.

    Args:
        policy: `[agent] when_unrecorded`.
        is_full: whether the spool has no room.
        is_overdue: whether brokers store nothing.
    """
    if policy == "answer":
        return ""
    if is_full:
        return "the spool has no room for records of calls"
    if is_overdue and policy == "ring":
        return "records of calls are not stored"
    return ""
