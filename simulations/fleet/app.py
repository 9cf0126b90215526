"""The ServerApp of a fleet: a run, as in every place, or a hello to its hosts.

Both in one app: so a check comes to hosts as the same bundle as a run, and they answer it by the same warm process.
"""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from simulations.fleet.hello import HELLO, hello
from strategies.app import app as run

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Do what the run config asks for."""
    if context.run_config["overrides"] == HELLO:
        hello(grid)
    else:
        run(grid, context)
