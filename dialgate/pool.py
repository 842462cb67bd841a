"""The worker pool's key: of its file, or, on a single machine without one, of the state.

Workers seal cookies with it, and `dialgate users otp` the secrets of tokens.  A key that is kept in
the state protects these from nobody who reads the state; `dialgate keys init` makes the file.
"""

from __future__ import annotations

import os

from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.keys import load_pool_key
from dialgate.sealing import POOL_KEY_BYTES
from dialgate.settings import ClusterSettings
from dialgate.state import shared_secret

__all__ = ["pool_key"]


async def pool_key(cluster: ClusterSettings, state: AsyncEngine) -> bytes:
    """Return the pool's key, 32 bytes.

    Raises:
        KeyFileError: the file that the configuration names isn't there, or it is unfit.
        StateError: the state can't be asked.
    """
    file = cluster.pool_key_file
    if cluster.pool_key or file.exists():
        return load_pool_key(file)
    return await shared_secret(state, "pool", os.urandom(POOL_KEY_BYTES))
