"""The server's party: who takes part, what is told to whom, and what becomes of the answers."""
