"""The loops: how a net is taught, and how it is asked."""
