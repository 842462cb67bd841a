"""Which worker may decide which call: the switchboard and the process around it."""
