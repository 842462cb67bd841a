"""Command-line parsers whose --help reads like a manual page."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Final

__all__ = ["DEFAULT_CONFIG", "add_config", "new_parser"]

DEFAULT_CONFIG: Final = "/etc/dialgate/dialgate.toml"

WIDTH: Final = 88
EXIT_STATUS: Final = "0  done\n1  it could not be done; standard error says why\n2  wrong usage"


def new_parser(
    command: str,
    description: str,
    *,
    examples: Sequence[str] = (),
    files: Sequence[str] = (),
    exit_status: str = EXIT_STATUS,
) -> argparse.ArgumentParser:
    """Return the parser of `dialgate COMMAND`.

    Args:
        command: its words, as "users add".
        description: paragraphs of text; they are wrapped here.
        examples: whole command lines, each perhaps with a comment after it.
        files: lines "NAME  what it is".
        exit_status: lines "NUMBER  meaning".
    """
    sections = {
        "examples": "\n".join(examples),
        "files": "\n".join(files),
        "exit status": exit_status,
    }
    return argparse.ArgumentParser(
        prog=f"dialgate {command}".strip(),
        description=_wrapped(description),
        epilog="\n\n".join(
            f"{title}:\n{textwrap.indent(text, '  ')}" for title, text in sections.items() if text
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the configuration file."""
    parser.add_argument(
        "--config",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the configuration file (default: %(default)s)",
    )


def _wrapped(text: str) -> str:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs)
