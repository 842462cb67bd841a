"""The kinds of value that settings have: ranges and patterns, each with its words for the reader.

A kind checks one value alone; what depends on two values or on the machine is in `checks`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = [
    "Choices",
    "Glob",
    "Hport",
    "Label",
    "Milliseconds",
    "Name",
    "Seconds",
    "Text",
    "Timeout",
]

Name = Annotated[
    str,
    Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z", description="1 to 64 of A-Z a-z 0-9 . _ -"),
]
"""Names processes, sites, services and authenticators: safe in file names and metric labels."""

Hport = Annotated[
    str,
    Meta(pattern=r"\A[!-~]{1,128}\Z", description="1 to 128 printable ASCII characters, no space"),
]
"""The port's handle in every message."""

Glob = Annotated[
    str,
    Meta(
        pattern=r"\A[!-~]{1,128}\Z",
        description="a pattern of 1 to 128 printable ASCII characters",
    ),
]
"""Compared as `fnmatch.fnmatchcase` does: * also matches a slash."""

Text = Annotated[str, Meta(max_length=2048, description="text of at most 2048 characters")]
"""Shown to callers."""

Label = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{0,64}\Z", description="empty, or as a name")]
"""A name that may be left out."""

Milliseconds = Annotated[int, Meta(ge=1, le=3_600_000)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
Timeout = Annotated[int, Meta(ge=0, le=31_536_000)]
"""Seconds where 0 means no limit."""

Choices = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=16)]
"""Names in order of preference."""
