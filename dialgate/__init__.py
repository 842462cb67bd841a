"""The language the programs share: codes, messages, sessions, settings and the command line."""
