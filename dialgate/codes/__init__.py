"""Every code of the contract, typed by the header that defines it."""

from __future__ import annotations

from dialgate.codes.code import NO_ERROR, Code, NumberedCode
from dialgate.codes.decoding import decode, describe
from dialgate.codes.mprerror import Mprerror
from dialgate.codes.raserror import Raserror
from dialgate.codes.winerror import Winerror

__all__ = [
    "NO_ERROR",
    "Code",
    "Mprerror",
    "NumberedCode",
    "Raserror",
    "Winerror",
    "decode",
    "describe",
]
