"""From numbers and wire codes to the members that name them."""

from __future__ import annotations

from typing import Final

from dialgate.codes.code import Code, NumberedCode
from dialgate.codes.mprerror import Mprerror
from dialgate.codes.raserror import Raserror
from dialgate.codes.winerror import Winerror

__all__ = ["RASBASE", "RASBASEEND", "decode", "describe"]

RASBASE: Final = 600
"""First number that is Raserror's by right (raserror.h)."""
RASBASEEND: Final = 870
"""Last number that is Raserror's by right (raserror.h)."""

_BY_NAMESPACE: Final[dict[str, type[NumberedCode]]] = {
    "win": Winerror,
    "ras": Raserror,
    "mpr": Mprerror,
}


def decode(number: int) -> NumberedCode:
    """Return the code that a bare `number` stands for.

    600..870 is read as Raserror first, every other number as Winerror first, and what neither
    knows as Mprerror.

    Raises:
        ValueError: no table has the number.
    """
    by_right = (
        (Raserror, Winerror, Mprerror)
        if RASBASE <= number <= RASBASEEND
        else (Winerror, Mprerror, Raserror)
    )
    for table in by_right:
        if number in table._value2member_map_:
            return table(number)
    msg = f"{number} is no code of winerror.h, raserror.h or mprerror.h"
    raise ValueError(msg)


def describe(code: Code) -> str:
    """Return `code` for a person or a log: its name, or namespace and number if we have none."""
    if code.ok:
        return "NO_ERROR"
    table = _BY_NAMESPACE.get(code.namespace)
    if table is not None and code.number in table._value2member_map_:
        return table(code.number).name
    return f"{code.namespace}:{code.number}"
