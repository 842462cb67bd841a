"""Who may connect: dialogs with callers, and the sources of truth behind them."""
