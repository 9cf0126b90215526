"""The camera's party: what runs on the host where the recordings are."""
