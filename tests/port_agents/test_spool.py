"""The agent's spool and its readers: what is kept, what is refused, and how both are told.

Method: a real SQLite file in the test's directory; a full or read-only disk is SQLite's own word
for it, provoked by its pragmas in the spool's thread.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import pytest_asyncio

from dialgate.codes import NO_ERROR, Raserror, Winerror
from dialgate.records import (
    CallFacts,
    CallRecord,
    DialogFacts,
    SpoolError,
    read_calls,
    read_unfinished,
)
from dialgate.wire.bodies import ERROR, SUCCESS
from dialgate.wire.envelope import decode_frame
from dialgate.wire.record import decode_record
from port_agents import spool as spool_module
from port_agents.call import Call, DialogOutcome, Disconnect
from port_agents.call_records import facts_of, stop_of_interrupted
from port_agents.dialog_actions import Verdict
from port_agents.modem_actions import Caller
from port_agents.spool import Spool, SpoolCounters

Kind = Literal["start", "interim", "stop"]

FACTS = CallFacts(
    site="oslo",
    agent="oslo-1",
    hport="oslo/1",
    caller="+4722334455",
    speed=33600,
    connect_text="CONNECT 33600",
    rang_at=1000.0,
    connected_at=1010.5,
    dialogs=(
        DialogFacts(
            dialog="00" * 16,
            attempts=1,
            tries=2,
            verdict="success",
            user="kari",
            attributes={"class": "field", "hops": 2, "break_glass": True},
        ),
    ),
    service="console",
    bytes_in=12,
    bytes_out=345,
    code=Raserror.PENDING.code,
)


def record(number: int, kind: Kind = "stop", *, call: int | None = None) -> CallRecord:
    return CallRecord(
        record=number.to_bytes(16),
        call=(number if call is None else call).to_bytes(16),
        kind=kind,
        made_at=float(number),
        facts=FACTS,
    )


class Rig:
    """A spool and its file; reopened as often as a test wants."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "spool.db"
        self.errors: list[str] = []
        self.spool: Spool

    async def open(self, *, records_max: int = 1000) -> Spool:
        self.spool = await Spool.open(
            self.path, self.errors.append, records_max=records_max, retry_s=0.01
        )
        return self.spool

    async def in_thread(self, statement: str) -> None:
        loop = asyncio.get_running_loop()
        execute = self.spool._file._connection.execute
        await loop.run_in_executor(self.spool._thread, lambda: execute(statement).fetchall())

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement).fetchall()


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    await rig.open()
    yield rig
    await rig.spool.close(bound_s=0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the spool's thread sets no event of ours
            await asyncio.sleep(0.005)


async def test_a_record_is_read_as_it_was_kept(rig: Rig) -> None:
    assert rig.spool.keep(record(7))
    assert await rig.spool.flush(bound_s=10)

    assert read_calls(rig.path) == [record(7)]
    assert rig.spool.counters == SpoolCounters(records_kept=1)
    assert (rig.spool.records, rig.spool.waiting) == (1, 0)


async def test_calls_are_shown_by_their_last_record_newest_first(rig: Rig) -> None:
    for kept in (
        record(1, "start", call=1),
        record(2, "start", call=2),
        record(3, "interim", call=1),
        record(4, "stop", call=2),
    ):
        rig.spool.keep(kept)
    await rig.spool.flush(bound_s=10)

    calls = read_calls(rig.path)

    assert [(int.from_bytes(call.call), call.kind) for call in calls] == [
        (2, "stop"),
        (1, "interim"),
    ]
    assert [int.from_bytes(call.call) for call in read_calls(rig.path, since=4)] == [2]
    assert [int.from_bytes(call.call) for call in read_calls(rig.path, limit=1)] == [2]


async def test_a_call_that_is_noted_and_has_no_stop_is_unfinished(rig: Rig) -> None:
    early = msgspec.structs.replace(FACTS, connected_at=None)
    others = msgspec.structs.replace(FACTS, agent="oslo-2")
    for number, facts in ((1, early), (1, FACTS), (2, FACTS), (3, FACTS), (4, others)):
        rig.spool.note(number.to_bytes(16), facts)
    rig.spool.keep(record(12, "start", call=2))
    rig.spool.keep(record(13, call=3))
    await rig.spool.flush(bound_s=10)

    unfinished = read_unfinished(rig.path, "oslo-1")

    assert unfinished == {(1).to_bytes(16): FACTS, (2).to_bytes(16): FACTS}
    assert [int.from_bytes(call.call) for call in read_calls(rig.path)] == [3, 2]


async def test_a_stop_ends_an_unfinished_call_once(rig: Rig) -> None:
    rig.spool.note((1).to_bytes(16), FACTS)
    await rig.spool.flush(bound_s=10)
    for call, facts in read_unfinished(rig.path, "oslo-1").items():
        rig.spool.keep(stop_of_interrupted(call, facts, record=bytes(16), made_at=2000.0))
    await rig.spool.flush(bound_s=10)

    (ended,) = read_calls(rig.path)

    assert read_unfinished(rig.path, "oslo-1") == {}
    assert rig.sql("SELECT count(*) FROM under_way") == [(0,)]
    assert (ended.kind, ended.facts.disconnect, ended.facts.ended_at) == (
        "stop",
        "agent-restart",
        None,
    )


async def test_notes_need_no_room_among_the_records(rig: Rig) -> None:
    await rig.spool.close(bound_s=10)
    await rig.open(records_max=1)
    rig.spool.note((1).to_bytes(16), FACTS)
    rig.spool.keep(record(2))
    rig.spool.note((3).to_bytes(16), FACTS)
    await rig.spool.flush(bound_s=10)

    assert rig.spool.counters == SpoolCounters(records_kept=1)
    assert len(read_unfinished(rig.path, "oslo-1")) == 2


async def test_the_spool_of_the_version_before_is_taken_over(rig: Rig) -> None:
    rig.spool.keep(record(1, "start"))
    await rig.spool.close(bound_s=10)
    rig.sql("DROP TABLE under_way")
    rig.sql("PRAGMA user_version = 1")
    await rig.open()

    assert list(read_unfinished(rig.path, "oslo-1")) == [(1).to_bytes(16)]


async def test_records_survive_a_restart_and_are_written_before_close_returns(rig: Rig) -> None:
    for number in range(1200):
        rig.spool.keep(record(number))

    assert await rig.spool.close(bound_s=10)
    await rig.open()

    assert rig.spool.records == 1000
    assert len(read_calls(rig.path, limit=2000)) == 1000


async def test_a_call_has_one_start_and_one_stop_whatever_is_kept(rig: Rig) -> None:
    for kept in (
        record(1, "start", call=9),
        record(2, "start", call=9),
        record(3, "interim", call=9),
        record(4, "interim", call=9),
        record(5, "stop", call=9),
        record(6, "stop", call=9),
        record(5, "stop", call=9),
    ):
        rig.spool.keep(kept)
    await rig.spool.flush(bound_s=10)

    kinds = rig.sql("SELECT kind, count(*) FROM records GROUP BY kind ORDER BY kind")
    assert kinds == [("interim", 2), ("start", 1), ("stop", 1)]
    assert rig.spool.counters.records_doubled == 3
    assert rig.spool.records == 4


async def test_only_the_owner_may_read_the_file(rig: Rig) -> None:
    modes = {stat.S_IMODE(file.stat().st_mode) for file in rig.path.parent.glob("spool.db*")}

    assert modes == {0o600}


async def test_each_transaction_is_on_the_disk_before_the_next(rig: Rig) -> None:
    # Each connection has its own `synchronous`: 2 is FULL.
    loop = asyncio.get_running_loop()
    execute = rig.spool._file._connection.execute

    modes = await loop.run_in_executor(
        rig.spool._thread,
        lambda: [
            execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        ],
    )

    assert modes == ["wal", 2]


async def test_the_oldest_calls_that_are_over_and_stored_make_room(rig: Rig) -> None:
    await rig.spool.close()
    await rig.open(records_max=6)
    for kept in (
        record(1, "start", call=1),
        record(2, "stop", call=1),
        record(3, "start", call=2),
        record(4, "start", call=3),
        record(5, "stop", call=3),
    ):
        rig.spool.keep(kept)
    await rig.spool.flush(bound_s=10)
    rig.sql("UPDATE records SET stored_at = 1.0 WHERE number <> 5")

    for number in (6, 7, 8):
        rig.spool.keep(record(number))
    await rig.spool.flush(bound_s=10)

    kept_numbers = [row[0] for row in rig.sql("SELECT number FROM records ORDER BY number")]
    # Gone is call 1; call 2 is not over, and the stop of call 3 is not stored.
    assert kept_numbers == [3, 4, 5, 6, 7, 8]
    assert rig.spool.counters.records_refused == 0


async def test_at_the_limit_a_record_is_refused_counted_and_told_once(rig: Rig) -> None:
    await rig.spool.close()
    await rig.open(records_max=2)
    for number in range(2):
        rig.spool.keep(record(number))
    await rig.spool.flush(bound_s=10)

    for number in range(2, 5):
        rig.spool.keep(record(number))
        await rig.spool.flush(bound_s=10)

    assert rig.spool.counters.records_refused == 3
    assert rig.spool.records == 2
    assert rig.errors == [
        f"{rig.path}: records are lost: the spool is full of records that no broker has stored"
    ]


async def test_a_full_disk_costs_no_record_and_is_told_once(rig: Rig) -> None:
    await rig.in_thread("PRAGMA max_page_count = 1")
    for number in range(100):
        assert rig.spool.keep(record(number))

    await until(lambda: rig.spool.counters.write_errors >= 2)
    assert not await rig.spool.flush(bound_s=0)
    await rig.in_thread("PRAGMA max_page_count = 100000")

    assert await rig.spool.flush(bound_s=10)
    assert rig.spool.counters.records_kept == 100
    assert rig.errors == [
        f"{rig.path}: records can't be written, and wait: database or disk is full"
    ]


async def test_a_file_that_turns_read_only_raises_nothing(rig: Rig) -> None:
    await rig.in_thread("PRAGMA query_only = 1")

    assert rig.spool.keep(record(1))
    await until(lambda: rig.spool.counters.write_errors >= 1)

    assert not await rig.spool.close(bound_s=0)
    assert "attempt to write a readonly database" in rig.errors[0]


async def test_the_queue_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "QUEUE_MAX", 3)

    assert [rig.spool.keep(record(number)) for number in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]

    assert rig.spool.counters.records_refused == 2
    assert rig.errors == [f"{rig.path}: records are lost: the queue of records is full"]


async def refusal(path: Path) -> str:
    """Return in what words a spool at `path` is refused."""
    with pytest.raises(SpoolError) as refused:
        await Spool.open(path, lambda _: None)
    text = str(refused.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)

    assert await refusal(path) == "can't be used as spool: file is not a database"
    assert path.read_text().startswith("not a database"), "and left as it was"


async def test_anothers_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE users (name)")

    assert "is no spool of dialgate" in await refusal(path)


async def test_a_newer_spool_is_refused(rig: Rig) -> None:
    await rig.spool.close()
    rig.sql("PRAGMA user_version = 3")

    assert "made by a newer dialgate" in await refusal(rig.path)
    with pytest.raises(SpoolError, match="made by a newer dialgate"):
        read_calls(rig.path)


async def test_a_damaged_spool_is_refused(rig: Rig) -> None:
    for number in range(500):
        rig.spool.keep(record(number))
    await rig.spool.close()
    content = bytearray(rig.path.read_bytes())
    content[8192:40_000] = os.urandom(40_000 - 8192)
    rig.path.write_bytes(content)

    text = await refusal(rig.path)

    assert "is damaged" in text or "malformed" in text


async def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert await refusal(tmp_path / "no" / "spool.db") == (
        "can't be opened: No such file or directory"
    )


def test_a_spool_that_was_never_made_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="no such file: has the agent of this machine"):
        read_calls(tmp_path / "spool.db")


def test_what_is_no_spool_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("x" * 4096)

    with pytest.raises(SpoolError, match="can't be read: file is not a database"):
        read_calls(tmp_path / "notes")


CALL = Call(
    id=bytes(range(16)),
    rang_at=5.0,
    caller=Caller(number="+4722334455", name="KARI"),
    connected_at=9.0,
    connect_speed=33600,
    connect_text="CONNECT 33600",
    dialog=DialogOutcome(
        dialog=bytes(16),
        attempts=2,
        answers=3,
        verdict=Verdict(
            SUCCESS, NO_ERROR, "kari", "GRID", {"class": "field", "blob": b"x", "tries": 2}
        ),
        reason=NO_ERROR,
    ),
    service="console",
    handed_over_at=12.0,
    bytes_in=1,
    bytes_out=2,
    ended_at=20.0,
    disconnect=Disconnect.CALLER,
    code=Raserror.ERROR_PORT_DISCONNECTED.code,
)


def facts_of_the(call: Call) -> CallFacts:
    return facts_of(call, ("oslo", "oslo-1", "oslo/1"), clock_offset_s=1000.0)


def test_a_record_says_what_the_line_noted_on_the_wall_clock() -> None:
    assert facts_of_the(CALL) == CallFacts(
        site="oslo",
        agent="oslo-1",
        hport="oslo/1",
        caller="+4722334455",
        caller_name="KARI",
        speed=33600,
        connect_text="CONNECT 33600",
        rang_at=1005.0,
        connected_at=1009.0,
        handed_over_at=1012.0,
        ended_at=1020.0,
        dialogs=(
            DialogFacts(
                dialog="00" * 16,
                attempts=2,
                answers=3,
                tries=2,
                verdict="success",
                user="kari",
                domain="GRID",
                attributes={"class": "field"},
            ),
        ),
        service="console",
        bytes_in=1,
        bytes_out=2,
        disconnect="caller",
        code=Raserror.ERROR_PORT_DISCONNECTED.code,
    )


def test_a_call_that_was_never_answered_has_a_record_all_the_same() -> None:
    facts = facts_of_the(Call(id=bytes(16), rang_at=5.0))

    assert facts == CallFacts(site="oslo", agent="oslo-1", hport="oslo/1", rang_at=1005.0)


def test_a_dialog_without_a_verdict_says_why_it_was_ended() -> None:
    assert CALL.dialog is not None
    ended = replace(CALL.dialog, verdict=None, reason=Winerror.ERROR_TIMEOUT.code)

    (dialog,) = facts_of_the(msgspec.structs.replace(CALL, dialog=ended)).dialogs

    assert dialog == DialogFacts(
        dialog="00" * 16, attempts=2, answers=3, code=Winerror.ERROR_TIMEOUT.code
    )


def test_an_error_verdict_keeps_its_code() -> None:
    assert CALL.dialog is not None
    failed = replace(CALL.dialog, verdict=Verdict(ERROR, Winerror.ERROR_TIMEOUT.code))

    (dialog,) = facts_of_the(msgspec.structs.replace(CALL, dialog=failed)).dialogs

    assert (dialog.verdict, dialog.code) == ("error", Winerror.ERROR_TIMEOUT.code)


def test_facts_are_plain_json() -> None:
    body = msgspec.json.decode(msgspec.json.encode(facts_of_the(CALL)))

    assert body["dialogs"][0]["user"] == "kari"
    assert body["code"] == ["ras", 619]


async def test_unstored_records_are_loaded_in_order_and_marked(rig: Rig) -> None:
    for number in (5, 6, 7):
        rig.spool.keep(record(number))
    await rig.spool.flush(bound_s=10)

    first = await rig.spool.load(after=0, limit=2)
    assert [each.record[-1] for each in first] == [5, 6]
    assert [x.record[-1] for x in await rig.spool.load(after=first[-1].number, limit=2)] == [7]
    assert decode_record(_body(first[0].message), "oslo-1") == record(5)

    await rig.spool.mark_stored([first[0].record, first[0].record, b"unknown"])
    assert rig.spool.unstored == 2
    assert [each.record[-1] for each in await rig.spool.load(after=0, limit=9)] == [6, 7]


async def test_a_spool_counts_what_is_unstored_when_it_is_opened(rig: Rig) -> None:
    rig.spool.keep(record(1))
    rig.spool.keep(record(2))
    await rig.spool.flush(bound_s=10)
    await rig.spool.mark_stored([record(1).record])
    await rig.spool.close()

    spool = await rig.open()

    assert (spool.records, spool.unstored) == (2, 1)


async def test_a_spool_is_full_before_the_last_of_its_room_is_used(rig: Rig) -> None:
    await rig.spool.close()
    spool = await rig.open(records_max=10)
    for number in range(8):
        spool.keep(record(number))
    await spool.flush(bound_s=10)
    assert not spool.is_full

    spool.keep(record(8))
    assert spool.is_full
    await spool.flush(bound_s=10)

    await spool.mark_stored([record(0).record])
    assert not spool.is_full


async def test_a_spool_that_cannot_be_written_is_full_until_it_can(rig: Rig) -> None:
    told: list[bool] = []
    rig.spool.on_written = lambda: told.append(rig.spool.is_full)
    await rig.in_thread("PRAGMA query_only = ON")
    rig.spool.keep(record(1))
    await until(lambda: rig.spool.is_failing)
    assert rig.spool.is_full

    await rig.in_thread("PRAGMA query_only = OFF")
    await rig.spool.flush(bound_s=10)

    assert not rig.spool.is_full
    assert (told[0], told[-1]) == (True, False)


async def test_a_spool_that_cannot_be_marked_says_so_and_sends_again(rig: Rig) -> None:
    rig.spool.keep(record(1))
    await rig.spool.flush(bound_s=10)
    await rig.in_thread("PRAGMA query_only = ON")

    await rig.spool.mark_stored([record(1).record])

    assert len(await rig.spool.load(after=0, limit=9)) == 1
    assert "it can't be noted which records are stored" in rig.errors[0]


def _body(message: bytes) -> bytes:
    [envelope], _ = decode_frame(message)
    return envelope[3]
