"""A guardian: ``python -m simulations.guardian FOLDER``. It ends what works in FOLDER when who started it is gone.

Who is killed (by SIGKILL, or by the system where memory runs out) cannot end what it has started. Its guardian does:
the pipe between them closes however it ends, since nobody else holds that.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulations.processes import end_all, started_in


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Whatever becomes of this process in the block, afterwards nobody works in `folder`, and it is gone."""
    guardian = subprocess.Popen(
        [sys.executable, "-m", "simulations.guardian", folder],
        cwd=Path(__file__).parents[1], stdin=subprocess.PIPE,
        start_new_session=True,  # neither Ctrl-C nor whoever kills all of this process's group is for it
    )  # fmt: skip
    try:
        yield
    finally:
        guardian.communicate()


def guard(folder: Path) -> None:
    """Wait until the other end is closed; then end all that is at work in the folder, and remove it."""
    sys.stdin.buffer.read()
    end_all(lambda: started_in(folder))
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
