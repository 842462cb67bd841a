"""Logs and metrics as every program of the cluster has them.

Logs go to standard error: logfmt, one event a line, or coloured columns where a person looks on.
Three things hold for every event, whoever logs it: no control character is written raw (a caller
may type what drives the reader's terminal), fields that are named like a secret are left out, and
a log that can't be written stops nothing.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO, cast, get_args

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector
from structlog.typing import Processor

from dialgate.text import printable

__all__ = ["LOG_LEVELS", "LogLevel", "new_registry", "start_log"]

LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: Final[tuple[LogLevel, ...]] = get_args(LogLevel)

VALUE_CHARS_MAX: Final = 2000
"""Longer values are cut: a log is no place for what a caller typed for ten minutes."""

_SECRET: Final = re.compile(r"(?:.*_)?(?:password|passphrase|secret|answer|cookie|token|data)")


def start_log(program: str, level: LogLevel = "info", stream: TextIO | None = None) -> None:
    """Let every logger of this process write to `stream` (standard error), marked `program`.

    Also those of libraries, from warnings upwards.
    """
    out = cast("TextIO", _Unfailing(sys.stderr if stream is None else stream))
    number = logging.getLevelNamesMapping()[level.upper()]
    person = out.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _marker(program),
        structlog.processors.format_exc_info,
        _without_secrets,
        _escaper(newlines=person),
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if person
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "program", "event"], bool_as_flag=False
        )
    )
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                render,
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def new_registry(*collectors: Collector) -> CollectorRegistry:
    """Return a registry of `collectors` and of this process's own figures."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for collector in collectors:
        registry.register(collector)
    return registry


class _Unfailing(io.TextIOBase):
    """Writes lines to a stream while that takes them, and counts those that it did not take.

    A disk may be full, or whoever reads may be gone.  The next line that is taken follows one that
    says how many were not.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def isatty(self) -> bool:
        return self._stream.isatty()

    def write(self, text: str, /) -> int:
        lines = text.count("\n")
        told = f"{self._lost} lines of this log could not be written\n" if self._lost else ""
        try:
            self._stream.write(told + text)
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: it has been closed.
            self._lost += lines
        else:
            self._lost = 0
        return len(text)


def _marker(program: str) -> Processor:
    def mark(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        event["program"] = program
        return event

    return mark


def _without_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any]:
    for key in [key for key in event if _SECRET.fullmatch(key)]:
        del event[key]
    return event


def _escaper(*, newlines: bool) -> Processor:
    """Return the processor that makes every value printable; in tracebacks newlines may stay."""

    def escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        for key, value in event.items():
            if value is None or isinstance(value, bool | int | float) or key.startswith("_"):
                continue
            text = value if isinstance(value, str) else str(value)
            limit = None if key == "exception" else VALUE_CHARS_MAX
            keep = newlines and key == "exception"
            event[key] = printable(text[:limit], newlines=keep)
        return event

    return escape
