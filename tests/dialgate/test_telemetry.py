"""What a log never holds, whoever writes to it."""

from __future__ import annotations

import errno
import io
import logging

import pytest
import structlog

from dialgate.telemetry import LogLevel, new_registry, start_log

pytestmark = pytest.mark.usefixtures("restored_log")


class Terminal(io.StringIO):
    """A stream at which a person looks."""

    def isatty(self) -> bool:
        return True


class Disk(io.StringIO):
    """A file on a disk that may be full."""

    is_full = False

    def write(self, text: str, /) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def logged(level: LogLevel = "info", stream: io.StringIO | None = None) -> io.StringIO:
    out = stream or io.StringIO()
    start_log("agent", level, out)
    return out


def test_an_event_is_one_line_of_logfmt() -> None:
    out = logged()

    structlog.get_logger().info("call ended", hport="oslo/1", bytes_in=5, user=None)

    _, line = out.getvalue().split(" ", 1)
    assert line == ('level=info program=agent event="call ended" hport=oslo/1 bytes_in=5 user=\n')


@pytest.mark.parametrize(
    "key", ["password", "secret", "answer", "cookie", "data", "operator_token", "new_password"]
)
def test_a_field_named_like_a_secret_is_left_out(key: str) -> None:
    out = logged()

    structlog.get_logger().info("event", **{key: "hunter2", "answer_timeout_s": 60})

    assert "hunter2" not in out.getvalue()
    assert "answer_timeout_s=60" in out.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_caller_cannot_drive_the_readers_terminal(stream: type[io.StringIO]) -> None:
    out = logged(stream=stream())

    structlog.get_logger().info("login", user="\x1b]0;owned\x07\x9b2J\r\nlevel=info forged")

    assert "\x1b]" not in out.getvalue()
    assert "\x9b" not in out.getvalue()
    assert out.getvalue().count("\n") == 1


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_an_exceptions_text_is_made_printable_too(stream: type[io.StringIO]) -> None:
    out = logged(stream=stream())

    try:
        int("\x1b]0;owned\x07")
    except ValueError as error:
        error.add_note("\x1b]0;owned\x07")
        structlog.get_logger().exception("bug")

    assert "ValueError" in out.getvalue()
    assert "\x1b]" not in out.getvalue()


def test_a_libraries_warning_looks_like_ours() -> None:
    out = logged()

    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("bad %s", "\x1b[2J")

    _, line = out.getvalue().split(" ", 1)
    assert line.startswith("level=warning program=agent event=")
    assert "\x1b" not in line


def test_events_below_the_level_are_not_written() -> None:
    out = logged("warning")

    structlog.get_logger().info("quiet")

    assert out.getvalue() == ""


def test_a_very_long_value_is_cut() -> None:
    out = logged()

    structlog.get_logger().info("event", text="x" * 1_000_000)

    assert len(out.getvalue()) < 2200


def test_a_log_that_cannot_be_written_stops_nothing_and_says_so_later() -> None:
    disk = Disk()
    start_log("agent", stream=disk)
    log = structlog.get_logger()

    disk.is_full = True
    log.error("lost")
    logging.getLogger("library").error("lost, too")
    disk.is_full = False
    log.error("written")

    told, line = disk.getvalue().splitlines()
    assert told == "2 lines of this log could not be written"
    assert "event=written" in line


def test_a_registry_has_the_process_s_own_figures() -> None:
    assert new_registry().get_sample_value("process_open_fds")
