"""RADIUS as a client speaks it: packets, servers in order, accounting.

pyrad makes and checks the packets and is imported by `packets` alone; sockets, time and the choice
of the server are ours (docs/adr/0010).
"""
