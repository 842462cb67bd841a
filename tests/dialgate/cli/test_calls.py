"""`dialgate calls` and `calls explain`: from the state, and from a spool as its agent left it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from dialgate.calls import store_records
from dialgate.cli import main
from dialgate.codes import Raserror
from dialgate.records import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    CallFacts,
    CallRecord,
    DialogFacts,
    Step,
)
from dialgate.state import open_state
from tests.dialgate.sample import altered, write

RANG_AT = 1_700_000_000.0

ADMITTED = CallFacts(
    site="oslo",
    agent="oslo-1",
    hport="oslo/1",
    caller="+4722334455",
    rang_at=RANG_AT,
    connected_at=RANG_AT + 3,
    ended_at=RANG_AT + 125,
    dialogs=(DialogFacts(dialog="00", attempts=1, tries=1, verdict="success", user="ann"),),
    service="console",
    bytes_in=10,
    bytes_out=2000,
    disconnect="caller hung up",
    steps=(
        Step(at=RANG_AT, what="rang"),
        Step(at=RANG_AT + 3.25, what="asked", detail="question 1"),
    ),
)
GOES_ON = CallFacts(site="oslo", agent="oslo-1", hport="oslo/2", rang_at=RANG_AT + 200)
FAILED = CallFacts(
    site="oslo",
    agent="oslo-1",
    hport="oslo/2",
    caller="\x1b[2J",
    rang_at=RANG_AT + 300,
    ended_at=RANG_AT + 301,
    dialogs=(
        DialogFacts(
            dialog="01",
            attempts=3,
            tries=0,
            verdict="error",
            code=Raserror.ERROR_PORT_NOT_FOUND.code,
        ),
    ),
    disconnect="no decision",
)


CALLS = [ADMITTED, GOES_ON, FAILED]


def records(calls: Sequence[CallFacts] = CALLS) -> list[CallRecord]:
    """Return a record of each call, the last of which was an hour ago."""
    return [
        CallRecord(
            record=number.to_bytes(16),
            call=number.to_bytes(16),
            kind="start" if facts.ended_at is None else "stop",
            made_at=time.time() - 3600 * (len(calls) - number),
            facts=facts,
        )
        for number, facts in enumerate(calls)
    ]


def fill_spool(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for each in records():
            body = msgspec.json.encode(each.facts).decode()
            connection.execute(
                "INSERT INTO records (record, call, kind, made_at, body) VALUES (?, ?, ?, ?, ?)",
                (each.record, each.call, each.kind, each.made_at, body),
            )
        connection.commit()


async def fill_state(url: str) -> None:
    engine = await open_state(url)
    await store_records(engine, records())
    await engine.dispose()


@pytest.fixture(params=["state", "spool"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """Return the options that make `dialgate calls` read the three calls, from either place."""
    state, spool = tmp_path / "state.db", tmp_path / "spool.db"
    config = write(
        tmp_path,
        altered(
            ("/var/lib/dialgate/state.db", str(state)), ("/var/lib/dialgate/spool.db", str(spool))
        ),
    )
    if request.param == "state":
        asyncio.run(fill_state(f"sqlite:///{state}"))
        return ["--config", str(config)]
    fill_spool(spool)
    return ["--config", str(config), "--spool"]


def test_a_call_is_a_line_and_the_newest_comes_first(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", *command]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()

    assert heading.split()[:4] == ["CALL", "RANG", "LASTED", "HPORT"]
    assert [line.split()[0] for line in lines] == [n.to_bytes(16).hex() for n in (2, 1, 0)]
    assert [line.split()[4] for line in lines] == ["oslo/2", "oslo/2", "oslo/1"]
    assert lines[0].split()[5:] == [
        *("\\x1b[2J", "-", "error", "(ERROR_PORT_NOT_FOUND)"),
        *("0", "-", "0", "0", "no", "decision"),
    ]
    assert lines[2].split()[3:] == [
        *("2m05s", "oslo/1", "+4722334455", "ann", "success", "1", "console"),
        *("10", "2000", "caller", "hung", "up"),
    ]


def test_json_has_every_dialog(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", *command, "-o", "json", "--limit", "1"]) == 0

    (call,) = json.loads(capsys.readouterr().out)["calls"]
    assert (call["hport"], call["kind"], call["disconnect"]) == ("oslo/2", "stop", "no decision")
    assert call["dialogs"][0]["attempts"] == 3


def test_csv_is_read_by_a_spreadsheet(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", *command, "-o", "csv"]) == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["user"] for row in rows] == ["", "", "ann"]
    assert rows[0]["code"] == "ERROR_PORT_NOT_FOUND"
    assert rows[1]["ended_at"] == ""
    assert (rows[2]["tries"], rows[2]["bytes_out"]) == ("1", "2000")


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        (["--since", "2.5h"], [2, 1]),
        (["--since", "150m"], [2, 1]),
        (["--since", "2020-01-01"], [2, 1, 0]),
        (["--since", "2999-01-01T00:00"], []),
        (["--user", "ann"], [0]),
        (["--user", "bob"], []),
        (["--port", "oslo/2"], [2, 1]),
        (["--port", "oslo/2", "--limit", "1"], [2]),
    ],
)
def test_calls_are_chosen_by_time_user_and_port(
    options: list[str], calls: list[int], command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", *command, "-o", "json", *options]) == 0

    shown = json.loads(capsys.readouterr().out)["calls"]
    assert [int(call["call"], 16) for call in shown] == calls


@pytest.mark.parametrize("option", ["--since=yesterday", "--since=-1h", "--limit=0", "--limit=x"])
def test_what_is_no_time_or_number_is_wrong_usage(option: str, command: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["calls", *command, option])

    assert ended.value.code == 2


def test_a_call_is_explained_step_by_step(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", "explain", *command, "0" * 32]) == 0

    told = capsys.readouterr().out
    assert "port    oslo/1 of oslo-1 at oslo" in told
    assert "user ann, tries 1, attempts 1" in told
    assert "+3.250  asked question 1" in told
    assert told.rstrip().endswith(f"record {'0' * 32}  stop")


def test_a_call_without_steps_is_explained_by_its_times(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", "explain", *command, (2).to_bytes(16).hex()]) == 0

    told = capsys.readouterr().out
    assert "+1.000  ended" in told
    assert "caller  \\x1b[2J" in told


def test_an_explanation_in_json_has_every_record(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", "explain", *command, "-o", "json", "0" * 32]) == 0

    told = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in told["records"]] == ["stop"]
    assert told["records"][0]["steps"][1]["what"] == "asked"


@pytest.mark.parametrize(
    ("call", "status", "words"),
    [("f" * 32, 1, "there is no call ffff"), ("oslo/1", 2, "32 hexadecimal digits")],
)
def test_what_is_no_call_is_one_line(
    call: str, status: int, words: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", "explain", *command, call]) == status

    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_without_a_spool_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = ("/var/lib/dialgate/spool.db", f"{tmp_path}/none.db")

    assert main(["calls", "--spool", "--config", str(write(tmp_path, altered(change)))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dialgate: {tmp_path}/none.db: no such file")
