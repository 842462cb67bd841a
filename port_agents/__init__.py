"""One process per modem host: modems, lines and the callers on them."""
