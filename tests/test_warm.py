"""The warm process of a host: on a socket that is its owner's alone, and gone with its SuperNode."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from tiny import JOB

from clients import meeting, memory, outfit, warm, warm_process
from clients.app import app as client_app
from clients.warm_process import end_with
from fedkd.config import as_string
from fedkd.errors import Remark, UserError
from fedkd.wire import about, address, letters
from simulations.identity import become_server, stamp
from strategies.lag import PAIR

RUN = "0123456789abcdef"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a warm process watches its SuperNode as Linux can")


@pytest.fixture
def supernode(monkeypatch: pytest.MonkeyPatch):
    """A process in the SuperNode's stead; the warm process must end with it."""
    become_server(1)
    process = subprocess.Popen(["sleep", "600"])
    monkeypatch.setattr(warm, "_supernode", lambda: process.pid)
    yield process
    process.kill()
    process.wait()


def host(state_dir: Path, *words: str, **config: object) -> Context:
    """A host's context as the SuperNode makes it for every message anew."""
    node = {"views": "v01", "state-dir": str(state_dir), "warm": True, **config}
    return Context(1, 1, node, RecordDict(), {"overrides": as_string([*JOB, "teacher=none", *words])})  # type: ignore[arg-type]


def asked(kind: str, round: int = 0) -> Message:
    content = address({}, ConfigRecord({"views": ["v01"], "round": round, "tell": False}))
    message = Message(content, 1, kind, group_id=f"{RUN}/{round}")
    stamp(message)
    return message


def process_of(state_dir: Path) -> int:
    """Id of the warm process that listens there."""
    [socket] = state_dir.glob("warm-*.sock")
    for folder in Path("/proc").glob("[0-9]*"):
        if str(socket).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
            return int(folder.name)
    raise AssertionError("nobody listens")


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits as a zombie for its parent, which here is the test."""
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.slow
def test_one_process_answers_all_messages_and_ends_with_its_supernode(supernode, tmp_path: Path) -> None:
    assert "clips" in letters(client_app(asked("query.enrol"), host(tmp_path)).content)["v01"]
    first = process_of(tmp_path)
    reply = letters(client_app(asked("train", 1), host(tmp_path)).content)["v01"]
    assert "tally" in reply and "fresh" not in reply
    assert process_of(tmp_path) == first
    [socket] = tmp_path.glob("warm-*.sock")
    assert socket.stat().st_mode & 0o777 == 0o600
    os.kill(first, signal.SIGKILL)
    reply = letters(client_app(asked("train", 2), host(tmp_path)).content)["v01"]
    assert "tally" in reply and "fresh" not in reply, "another goes on from the cameras' disk"
    second = process_of(tmp_path)
    assert second != first
    supernode.kill()
    supernode.wait()
    deadline = time.monotonic() + 10
    while not ended(second) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ended(second)


def of_another_run(state_dir: Path) -> Context:
    """The host's context for a message of another of Flower's runs."""
    other = host(state_dir)
    return Context(2, 1, other.node_config, RecordDict(), other.run_config)


def test_only_a_message_that_cameras_act_on_makes_the_process_forget_another_run(tmp_path: Path) -> None:
    become_server(1)
    warm_process._answer(asked("query.enrol"), host(tmp_path))
    at_work = dict(memory._HERE[1, 1])
    read = outfit.recordings.cache_info().currsize
    for kind in ("query.hello", *PAIR):
        reply = warm_process._answer(asked(kind), of_another_run(tmp_path))
        assert about(reply.content)["views"] == ["v01"]
    assert memory._HERE[1, 1] == at_work and outfit.recordings.cache_info().currsize == read > 0
    warm_process._answer(asked("query.enrol"), of_another_run(tmp_path))
    assert (1, 1) not in memory._HERE and "v01" in memory._HERE[2, 1]
    memory.forget(2)


@contextmanager
def killed_at_work(state_dir: Path):
    """For the time of the block, kill the warm process once it has used a third of a second of processor time.

    The moments of its camera that were on the disk then.
    """
    pid, moments = process_of(state_dir), list[str]()
    ticks = warm._processor_ticks(pid) + os.sysconf("SC_CLK_TCK") // 3

    def kill() -> None:
        while warm._processor_ticks(pid) < ticks:
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        moments.extend(sorted(path.name for path in (state_dir / RUN).iterdir()))

    killer = threading.Thread(target=kill)
    killer.start()
    yield moments
    killer.join(timeout=60)


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_trains_costs_no_bit(supernode, tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    long = ("+student.schooling.epochs=500",)
    warm_host, calm_host = host(tmp_path, *long), host(tmp_path / "calm", *long, warm=False)
    for message in (asked("query.enrol"), asked("train", 1)):
        client_app(message, warm_host)
        client_app(message, calm_host)
    first = process_of(tmp_path)
    with killed_at_work(tmp_path) as moments:
        struck = letters(client_app(asked("train", 2), warm_host).content)["v01"]
    assert moments == ["v01.0-0.safetensors", "v01.1-1.safetensors"], "it had not ended its round"
    assert ended(first) and process_of(tmp_path) != first
    calm = letters(client_app(asked("train", 2), calm_host).content)["v01"]
    assert struck["tally"] == calm["tally"] and struck.keys() == calm.keys(), "nothing was forgotten"
    digests = [letters(client_app(asked("evaluate", 2), one).content)["v01"] for one in (warm_host, calm_host)]
    assert digests[0]["student"] == digests[1]["student"]


@pytest.mark.slow
def test_a_process_that_nobody_asks_ends(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from clients.warm_process import serve; serve(Path(sys.argv[1]), 0.2)"
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "socket"])
    while not warm._listens(tmp_path / "socket"):
        assert process.poll() is None
        time.sleep(0.1)
    assert process.wait(timeout=10) == 0


@contextmanager
def listening(path: Path, work: str):
    """A process in the warm one's stead, that does `work` before it replies."""
    code = f"""
import sys, time
from multiprocessing.connection import Listener
with Listener(sys.argv[1], "AF_UNIX") as listener:
    while True:
        with listener.accept() as line:
            try:
                line.recv_bytes()
            except EOFError:
                continue
            {work}
            line.send("done")
"""
    process = subprocess.Popen([sys.executable, "-c", code, path])
    while not warm._listens(path):
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def test_a_process_that_hangs_is_ended_and_one_that_works_long_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(warm, "HUNG_SECONDS", 2.0)
    tmp_path.chmod(0o700)
    become_server(1)
    message, context = asked("train", 1), host(tmp_path)
    with listening(tmp_path / "works", "while time.process_time() < 3: pass") as works:
        with pytest.raises(UserError, match="done"):
            warm._exchange(tmp_path / "works", message, context)
        assert works.poll() is None
    with listening(tmp_path / "sleeps", "time.sleep(600)") as sleeps:
        with pytest.raises((EOFError, OSError)):
            warm._exchange(tmp_path / "sleeps", message, context)
        assert sleeps.wait(timeout=10) == -signal.SIGKILL
    with listening(tmp_path / "stopped", "pass") as stopped:
        stopped.send_signal(signal.SIGSTOP)
        message.content["weights"] = ConfigRecord({"more than a socket holds": bytes(10**7)})
        with pytest.raises((EOFError, OSError)):
            warm._exchange(tmp_path / "stopped", message, context)
        assert stopped.wait(timeout=10) == -signal.SIGKILL


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Let processes that do `works`, one after the other, be started in the warm one's stead; which were."""
    with ExitStack() as processes:

        def go(*works: str) -> list[subprocess.Popen[bytes]]:
            ready, begun = list(works), list[subprocess.Popen[bytes]]()

            def start(path: Path) -> None:
                path.unlink(missing_ok=True)
                begun.append(processes.enter_context(listening(path, ready.pop(0))))

            monkeypatch.setattr(warm, "_start", start)
            return begun

        tmp_path.chmod(0o700)
        become_server(1)
        yield go


DIES = "import os; os.kill(os.getpid(), 9)"


def test_where_the_process_dies_over_its_first_message_another_is_asked(started, tmp_path: Path) -> None:
    begun = started(DIES, "pass")
    with pytest.raises(UserError, match=r"^done$"):
        client_app(asked("train", 1), host(tmp_path))
    assert [process.poll() for process in begun] == [-signal.SIGKILL, None]


def test_where_the_second_process_dies_too_the_message_fails_with_a_sentence(started, tmp_path: Path) -> None:
    begun = started(DIES, DIES)
    with pytest.raises(UserError, match=rf"ended twice .*memory runs out; {tmp_path}/warm-\w+\.log on this host"):
        client_app(asked("train", 1), host(tmp_path))
    assert [process.wait(timeout=10) for process in begun] == [-signal.SIGKILL] * 2


def test_a_process_that_cannot_watch_its_supernode_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "pidfd_open", forbidden)
    with pytest.warns(Remark, match="cannot watch the SuperNode .*: ends 900 s after its last message"):
        end_with(os.getpid())


def test_two_client_apps_meet_where_a_home_is_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders: list[Path] = []
    become_server(1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(warm, "ask", lambda message, context: Message(RecordDict(), reply_to=message))
    monkeypatch.setattr(meeting, "join", folders.append)
    client_app(asked("query.join"), host(Path("~/camera")))
    assert folders == [tmp_path / "camera"]


@pytest.mark.slow
def test_what_the_warm_process_cannot_do_is_an_error_of_the_message(supernode, tmp_path: Path) -> None:
    context = host(tmp_path)
    context.run_config["overrides"] = "strategy="
    with pytest.raises(UserError, match="strategy"):
        client_app(asked("query.enrol"), context)


def test_a_warm_process_needs_a_place_for_its_socket(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a state-dir"):
        warm.socket_path("")
    with pytest.raises(UserError, match="at most 80 bytes"):
        warm.socket_path(str(tmp_path / ("long" * 30)))


def test_outside_a_supernode_nobody_would_end_it() -> None:
    with pytest.raises(UserError, match="is for a SuperNode's own processes"):
        warm._supernode()


def test_where_there_is_no_proc_the_warm_process_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 1)  # more than Linux gives: nothing of it is below /proc
    with pytest.raises(UserError, match=r"is for a SuperNode's own processes \(flower-supernode, on Linux\)"):
        warm._supernode()


def test_the_supernode_of_a_container_may_be_its_first_process() -> None:
    own = ["unshare", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process numbers of its own may be had here")
    child = "import os; from clients.warm import _supernode; assert os.getpid() > 1; print(_supernode())"
    first = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    said = subprocess.run(
        [*own, sys.executable, "-c", first, child, "flower-supernode"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "1\n"
