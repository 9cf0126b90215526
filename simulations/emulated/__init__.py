"""Hosts that are emulated on one machine: network namespaces with links of a rate, a delay and a loss of their own.

For proofs and measurements on a network that is none of a loopback's. Linux, and root, are needed (`missing`).
"""
