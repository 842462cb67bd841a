"""`dialgate calls`: an agent's spool, as it is left by the agent."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from dialgate.cli import main
from dialgate.codes import Raserror
from dialgate.records import APPLICATION_ID, SCHEMA, SCHEMA_VERSION, CallFacts, DialogFacts
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
    dialogs=(DialogFacts(dialog="00", attempts=1, tries=2, verdict="success", user="ann"),),
    service="console",
    bytes_in=10,
    bytes_out=2000,
    disconnect="caller hung up",
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


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Return a spool with three calls, the last of which was an hour ago."""
    file = tmp_path / "spool.db"
    fill(file, [ADMITTED, GOES_ON, FAILED])
    return file


def fill(file: Path, calls: Sequence[CallFacts]) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for number, facts in enumerate(calls):
            call = number.to_bytes(16)
            kind = "start" if facts.ended_at is None else "stop"
            made_at = time.time() - 3600 * (len(calls) - number)
            body = msgspec.json.encode(facts).decode()
            connection.execute(
                "INSERT INTO records (record, call, kind, made_at, body) VALUES (?, ?, ?, ?, ?)",
                (call, call, kind, made_at, body),
            )
        connection.commit()


@pytest.fixture
def config(spool: Path, tmp_path: Path) -> str:
    return str(write(tmp_path, altered(("/var/lib/dialgate/spool.db", str(spool)))))


def test_a_call_is_a_line_and_the_newest_comes_first(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calls", "--config", config]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()

    assert heading.split()[:3] == ["RANG", "LASTED", "HPORT"]
    assert [line.split()[3] for line in lines] == ["oslo/2", "oslo/2", "oslo/1"]
    assert lines[0].split()[4:] == [
        *("\\x1b[2J", "-", "error", "(ERROR_PORT_NOT_FOUND)"),
        *("-", "0", "0", "no", "decision"),
    ]
    assert lines[2].split()[2:] == [
        *("2m05s", "oslo/1", "+4722334455", "ann", "success", "console"),
        *("10", "2000", "caller", "hung", "up"),
    ]


def test_json_has_every_dialog(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", "--config", config, "-o", "json", "--limit", "1"]) == 0

    (call,) = json.loads(capsys.readouterr().out)["calls"]
    assert (call["hport"], call["kind"], call["disconnect"]) == ("oslo/2", "stop", "no decision")
    assert call["dialogs"][0]["attempts"] == 3


def test_only_the_last_hours_are_shown(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calls", "--config", config, "--hours", "2.5"]) == 0

    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "x"])
def test_what_is_no_time_is_wrong_usage(hours: str, config: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["calls", "--config", config, "--hours", hours])

    assert ended.value.code == 2


def test_without_a_spool_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = ("/var/lib/dialgate/spool.db", f"{tmp_path}/none.db")

    assert main(["calls", "--config", str(write(tmp_path, altered(change)))]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dialgate: {tmp_path}/none.db: no such file")
