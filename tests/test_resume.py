"""A run that was killed goes on with the bits of one that was not."""

import contextlib
import itertools
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from flwr.app import Context, Message, RecordDict
from safetensors.torch import load_file
from tiny import JOB, only_folder, run, summary

from clients import memory
from clients.app import app as client_app
from clients.memory import KEPT_MOMENTS, Knows, Moment
from fedkd.config import load
from fedkd.errors import Remark, UserError
from fedkd.record import Record
from fedkd.sealed import seal, unseal
from fedkd.weights import digest
from simulations import local
from simulations.cli import main
from simulations.host_grid import LOST, failed
from simulations.identity import become_server
from simulations.run import run_one
from strategies import checkpoint

KILLS = int(os.environ.get("FEDKD_TEST_KILLS", "5"))
"""Runs that are killed by SIGKILL, in seconds each."""

WORDS = ("rounds=4", "speak_after=2", "place.workers=1")
VARIANTS = {
    "distil": (),
    "several exchanges": ("speak_every=1", "rounds=5"),
    "fedavg": ("strategy=fedavg", "teacher=none"),
    "central": ("strategy=central",),
    "federated teacher": ("teaching.origin=federated", "teaching.rounds=2"),
}


class Killed(BaseException):
    """What no part of a run catches, as none catches SIGKILL."""


def ends(folder: Path) -> tuple[str, dict, dict[str, str], str]:
    """All that a run leaves, but for the time it took."""
    rounds = pd.read_csv(folder / "rounds.csv").drop(columns="seconds")
    its_own = ("wall_seconds", "run", "overrides", "bytes_exams")  # the exam's letter has the folder's name in it
    told = {key: value for key, value in summary(folder).items() if key not in its_own}
    kept = {path.name: digest(load_file(path)) for path in (folder / "checkpoint").glob("*.safetensors")}
    return rounds.to_csv(), told, kept, (folder / "answers.csv").read_text()


def kill_at(patch: pytest.MonkeyPatch, moment: float) -> list[str]:
    """End a run before its hosts answer message number `moment`, or (n.5) after they answered number n; the kinds of
    all that they were sent.
    """
    sent = list[str]()
    answer = local.client_app

    def answers_until_killed(message: Message, context: Context) -> Message:
        sent.append(message.metadata.message_type)
        if len(sent) == moment:
            raise Killed
        reply = answer(message, context)
        if len(sent) + 0.5 == moment:
            raise Killed
        return reply

    patch.setattr(local, "client_app", answers_until_killed)
    return sent


def killed(results: Path, moment: int, *words: str) -> Path:
    """The folder of a run that was killed before message number `moment`, of which no process remembers anything.

    Its three hosts are asked whom they serve, to enrol, and then to train and to sit an exam in every round.
    """
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, moment)
        with pytest.raises(Killed):
            run(results, *WORDS, *words)
    memory.forget(os.getpid())
    return only_folder(results)


@pytest.mark.parametrize(
    "variant",
    [pytest.param(name, marks=[] if name in ("distil", "fedavg") else [pytest.mark.slow]) for name in VARIANTS],
)
def test_a_run_killed_at_any_message_goes_on_with_the_same_bits(
    variant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = (*WORDS, *VARIANTS[variant])
    with monkeypatch.context() as patch:
        sent = kill_at(patch, math.inf)
        calm = ends(run(tmp_path / "calm", *words))
    for moment in random.Random(variant).sample([n / 2 for n in range(2, 2 * len(sent) + 2)], 6):
        results = tmp_path / str(moment)
        with monkeypatch.context() as patch:
            kill_at(patch, moment)
            with pytest.raises(Killed):
                run(results, *words)
        folder = only_folder(results)
        memory.forget(os.getpid())  # as a new process would
        assert main(["run", f"resume={folder}"]) == 0
        assert ends(folder) == calm, f"killed at message {moment}"
        assert not (folder / "checkpoint" / "cameras").exists()


@pytest.mark.parametrize("variant", ["distil", "fedavg"])
def test_a_run_killed_while_it_writes_the_last_answers_ends_with_the_same_bits(
    variant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words, keep = (*WORDS, *VARIANTS[variant]), checkpoint.keep

    def keeps_the_last_and_is_killed(folder: Path, standing: checkpoint.Standing) -> None:
        keep(folder, standing)
        if standing.round == 4:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "keep", keeps_the_last_and_is_killed)
        with pytest.raises(Killed):
            run(tmp_path / "killed", *words)
    memory.forget(os.getpid())
    folder = only_folder(tmp_path / "killed")
    assert summary(folder)["rounds_done"] == 4
    assert main(["run", f"resume={folder}"]) == 0
    assert ends(folder) == ends(run(tmp_path / "calm", *words))


def test_a_run_killed_after_its_end_is_tidied_up(tmp_path: Path) -> None:
    folder = run(tmp_path, *WORDS)
    (folder / "checkpoint" / "cameras").mkdir()
    begun = folder / "checkpoint" / "beginning.safetensors"
    begun.touch()
    assert not (folder / "report.html").exists()
    assert main(["run", f"resume={folder}"]) == 0
    assert not begun.exists()
    assert (folder / "report.html").exists() and not (folder / "checkpoint" / "cameras").exists()


@pytest.mark.parametrize("round", [1, 2])
def test_a_view_that_came_late_comes_again_where_its_round_is_made_again(
    round: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def go(results: Path, go_on: bool = False) -> Path:
        asked = iter(["gone"] * (0 if go_on else round))

        def answers(message: Message, context: Context) -> Message:
            if message.metadata.message_type == "query.enrol" and message.metadata.dst_node_id == 3 and next(asked, ""):
                return failed(message, ConnectionError("the host is gone"), LOST)
            return client_app(message, context)

        with monkeypatch.context() as patch:
            patch.setattr(local, "client_app", answers)
            if not go_on:
                return run(results, *WORDS)
            folder = only_folder(results)
            memory.forget(os.getpid())
            return run_one(summary(folder)["overrides"], folder=folder)

    def keeps_until_killed(folder: Path, standing: checkpoint.Standing, *more: Any) -> None:
        if standing.round == round:
            raise Killed
        keep(folder, standing, *more)

    calm, keep = ends(go(tmp_path / "calm")), checkpoint.keep
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(checkpoint, "keep", keeps_until_killed)
        go(tmp_path / "killed")
    assert ends(go(tmp_path / "killed", go_on=True)) == calm


def begun(words: list[str]) -> tuple[multiprocessing.Process, Path]:
    """The command, in a process group of its own and at the start of round 1; and its rounds.csv."""

    def command() -> None:
        os.setsid()
        sys.exit(main(["run", *words]))

    [results] = [Path(word.partition("=")[2].strip("'")) for word in words if word.startswith("results_dir=")]
    process = multiprocessing.get_context("fork").Process(target=command)  # what is imported need not be again
    process.start()
    while not (found := list(results.rglob("rounds.csv"))) or ",enrolled," not in found[0].read_text():
        assert process.is_alive()
        time.sleep(0.002)
    return process, found[0]  # type: ignore[return-value]


@pytest.mark.slow
def test_runs_that_are_killed_at_any_moment_all_end_the_same(tmp_path: Path) -> None:
    """Each run is killed once, by SIGKILL with all its processes, goes on once, and its end is compared."""
    words = [*JOB, *WORDS, "rounds=8", "place.workers=2", "evaluate_every=2"]
    calm = ends(run(tmp_path / "calm", *words, "place.workers=1"))  # here: what it imports, those forked have
    seconds, chance, killed_after = 600.0, random.Random(0), Counter[int]()
    for number in itertools.count():
        if killed_after.total() == KILLS:
            break
        process, rounds = begun([*words, f"results_dir='{tmp_path / str(number)}'"])
        began, moment = time.monotonic(), chance.uniform(0, seconds) if number else seconds
        while summary(rounds.parent)["status"] != "finished" and time.monotonic() < began + moment:
            time.sleep(0.005)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
        process.join()
        told = summary(rounds.parent)
        if told["status"] == "finished":  # the first is not killed, and others may be faster than it
            seconds = time.monotonic() - began
            assert main(["run", f"resume={rounds.parent}"]) == 0
            assert ends(rounds.parent) == calm
            continue
        done = told.get("rounds_done", 0)
        killed_after[done] += 1
        run_one(told["overrides"], folder=rounds.parent)
        assert ends(rounds.parent) == calm, f"killed after round {done}"
    print(f"{KILLS} kills, by the number of rounds done: {dict(sorted(killed_after.items()))}")


def test_what_is_said_last_counts_where_a_run_goes_on_more_than_once(tmp_path: Path) -> None:
    folder = killed(tmp_path, 12, "timeout=60")
    for seconds in (120, 60):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, 9)
            with pytest.raises(Killed):
                main(["run", f"resume={folder}", f"timeout={seconds}"])
        assert load(summary(folder)["overrides"]).timeout == seconds
        memory.forget(os.getpid())


def test_a_finished_run_is_shown_and_not_run_again(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    folder = run(tmp_path, *WORDS)
    before = ends(folder)
    assert main(["run", f"resume={folder}"]) == 0
    assert "is finished already" in capsys.readouterr().err and ends(folder) == before


def test_a_run_goes_on_with_its_own_settings_only(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    folder = killed(tmp_path, 12)
    assert main(["run", f"resume={folder}", "objective.teacher=0.5"]) == 2
    assert "objective.teacher differ" in capsys.readouterr().err
    assert main(["run", f"resume={folder}", "resume=elsewhere"]) == 2
    assert "one run" in capsys.readouterr().err
    assert main(["run", "resume=nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_relative_path_names_the_same_run_where_the_server_works_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calm = ends(run(tmp_path / "calm", *WORDS))
    killed(tmp_path / "killed", 20)
    serve = local.serve

    def serve_elsewhere(*arguments: Any) -> None:
        with contextlib.chdir(tmp_path / "calm"):  # as a ServerApp that a SuperLink starts
            serve(*arguments)

    monkeypatch.setattr(local, "serve", serve_elsewhere)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "resume=killed"]) == 0
    assert ends(only_folder(tmp_path / "killed")) == calm


@pytest.mark.parametrize(("place", "workers"), [("local", 1), ("ray", None)])
def test_a_place_that_is_named_again_keeps_its_settings(
    place: str, workers: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed(tmp_path, 12)
    asked: list[str] = []

    def seen(words: list[str], **_: object) -> None:
        asked.extend(words)
        raise Killed

    monkeypatch.setattr("simulations.cli.run_one", seen)
    with pytest.raises(Killed):
        main(["run", f"resume={only_folder(tmp_path)}", f"place={place}"])
    assert load(asked).place.workers == workers


def test_a_run_that_went_on_elsewhere_goes_on_from_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Killed in a place with settings of its own, and killed again in another, it stays in that one."""
    folder = killed(tmp_path, 12, "place.workers=1")
    told = summary(folder)
    (folder / "summary.json").write_text(json.dumps({**told, "place": "ray", "overrides": [
        *(w for w in told["overrides"] if not w.startswith("place")), "place=ray", "place.hosts=3",
    ]}))  # fmt: skip
    with monkeypatch.context() as patch:
        kill_at(patch, 9)
        with pytest.raises(Killed):
            main(["run", f"resume={folder}", "place=local", "place.workers=1"])
    memory.forget(os.getpid())
    assert main(["run", f"resume={folder}", "place=local"]) == 0
    assert summary(folder)["status"] == "finished" and summary(folder)["place"] == "local"
    words = summary(folder)["overrides"]
    assert "place=ray" not in words and "place.hosts=3" not in words and len(words) == len(set(words))


@pytest.mark.parametrize("there", [("server", "server.before"), ("server.before",)])
def test_a_run_none_of_whose_checkpoints_is_whole_says_so_as_often_as_it_is_asked(
    there: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = killed(tmp_path, 20)
    for name in ("server", "server.before"):
        path = folder / "checkpoint" / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:-1]) if name in there else path.unlink()
    for _ in range(2):
        assert main(["run", f"resume={folder}"]) == 2
        assert "are torn, none is whole; start the run anew" in capsys.readouterr().err


def test_a_run_that_kept_nothing_says_so(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    folder = killed(tmp_path, 12, "resumable=false")
    assert not (folder / "checkpoint" / "cameras").exists()
    assert main(["run", f"resume={folder}"]) == 2
    assert "it ran with resumable=false" in capsys.readouterr().err


def test_two_processes_cannot_go_on_with_one_run(tmp_path: Path) -> None:
    record = Record(tmp_path / "run", "seed: 0\n", {})
    with pytest.raises(UserError, match="a run is at work in"):
        Record.again(tmp_path / "run")
    record.close()
    assert Record.again(tmp_path / "run").run == record.run


def test_a_run_that_goes_on_waits_for_the_one_before_it_to_end(tmp_path: Path) -> None:
    record = Record(tmp_path / "run", "seed: 0\n", {})
    with pytest.raises(UserError, match="a run is at work in"):
        Record.again(tmp_path / "run", patience=0.3)
    ends = threading.Timer(0.5, record.close)
    ends.start()
    assert Record.again(tmp_path / "run", patience=60.0).run == record.run
    ends.join()


# What is torn


def test_a_sealed_file_gives_back_what_it_was_given_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "sealed.safetensors"
    tensors = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}
    seal(path, tensors, {"round": "3"})
    back, words = unseal(path)
    assert words == {"round": "3"} and back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    whole = path.read_bytes()
    for torn in (
        whole[:-1],
        whole[:20],
        b"",
        whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
        whole.replace(b'"3"', b'"4"'),
    ):
        path.write_bytes(torn)
        with pytest.raises(UserError, match="is torn"):
            unseal(path)


def test_a_torn_beginning_ends_the_resume_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "beginning.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"beginning.safetensors is torn.*start it anew"):
        checkpoint.beginning(tmp_path)


def test_a_sealed_file_is_on_the_disk_under_its_name_before_anybody_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    synced, fsync = [], os.fsync

    def watched(fd: int) -> None:
        there = sorted(path.name for path in tmp_path.iterdir())
        synced.append((Path(os.readlink(f"/proc/self/fd/{fd}")).name, there))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    seal(tmp_path / "sealed", {"w": torch.zeros(1)})
    assert synced == [("sealed.part", ["sealed.part"]), (tmp_path.name, ["sealed"])]


def test_a_camera_keeps_its_last_moments_and_passes_a_torn_one_by(tmp_path: Path) -> None:
    kept = host(tmp_path)
    seen = kept.anew("v01")
    digests = {}
    for round in range(6):
        if round:
            seen.train(round)
        kept.remember({"v01": seen}, Moment(1, round))
        digests[round] = seen.digest()
    files = sorted(kept.folder.iterdir())  # type: ignore[union-attr]
    assert len(files) == KEPT_MOMENTS
    back, known, stands = host(tmp_path).recall("v01", Moment(1, 4))
    assert known is Knows.ALL and stands == (1, 4) and back.digest() == digests[4]
    files[-1].write_bytes(files[-1].read_bytes()[:-9])
    with pytest.warns(Remark, match="goes back to what it remembers from before"):
        back, known, stands = host(tmp_path).recall("v01", Moment(1, 5))
    assert known is Knows.SOME and stands == (1, 4), "what it was told in round 5 is lost, and told again"
    assert back.digest() == digests[4]
    kept.remember({"v01": back}, Moment(1, 4))
    assert [path.name for path in sorted(kept.folder.iterdir())] == [path.name for path in files[:2]]  # type: ignore[union-attr]


def test_a_run_that_goes_on_after_weeks_keeps_its_own_memory(tmp_path: Path) -> None:
    kept = host(tmp_path)
    kept.remember({"v01": kept.anew("v01")}, Moment(1, 1))
    other = tmp_path / ("f" * 16)
    other.mkdir()
    for folder in (other, kept.folder):
        os.utime(folder, (0, 0))  # type: ignore[arg-type]
    kept.anew("v02")  # a view that comes late
    assert not other.exists() and host(tmp_path).recall("v01", Moment(1, 1)).knows is Knows.ALL


def test_a_camera_that_lost_its_memory_says_so_until_it_was_told_again(tmp_path: Path) -> None:
    kept = host(tmp_path, resident=True)
    kept.remember({"v01": kept.anew("v01")}, Moment(1, 1))
    memory.forget(1)
    seen, known, _ = host(tmp_path, resident=True).recall("v01", Moment(1, 3))
    assert known is Knows.SOME, "at an exam, which tells nothing"
    kept = host(tmp_path, resident=True)
    seen, known, _ = kept.recall("v01", Moment(1, 3))
    assert known is Knows.SOME, "at the train message after it"
    kept.remember({"v01": seen}, Moment(1, 4))
    assert host(tmp_path, resident=True).recall("v01", Moment(1, 4)) == (seen, Knows.ALL, (1, 4))


def test_a_camera_whose_last_moment_is_torn_goes_back_and_is_named(tmp_path: Path) -> None:
    folder = killed(tmp_path, 20)
    done = summary(folder)["rounds_done"]
    assert done > 1
    [moment] = folder.glob(f"checkpoint/cameras/*/v01.1-{done}.safetensors")
    moment.write_bytes(moment.read_bytes()[:-1])
    with pytest.warns(Remark, match="v01 goes back to what it remembers from before"):
        run_one(summary(folder)["overrides"], folder=folder)
    why = f"its student went back to round {done - 1}: its host has lost what it learned in {done}"
    assert summary(folder)["failures"] == [{"round": done + 1, "view": "v01", "reason": why}]


def test_a_server_whose_last_checkpoint_is_torn_makes_one_more_round_again(tmp_path: Path) -> None:
    calm = ends(run(tmp_path / "calm", *WORDS))
    folder = killed(tmp_path / "killed", 20)
    server = folder / "checkpoint" / "server.safetensors"
    server.write_bytes(server.read_bytes()[:-1])
    with pytest.warns(Remark, match="goes back to the round before"):
        run_one(summary(folder)["overrides"], folder=folder)
    assert ends(folder) == calm


@pytest.mark.parametrize("left", [b"", bytes(300)])
def test_a_run_whose_table_is_lost_goes_on_and_says_so(left: bytes, tmp_path: Path) -> None:
    calm = summary(run(tmp_path / "calm", *WORDS))
    folder = killed(tmp_path / "killed", 20)
    done = summary(folder)["rounds_done"]
    (folder / "rounds.csv").write_bytes(left)
    with pytest.warns(Remark, match=f"rounds.csv is empty or torn: the rows of rounds 0 to {done} are lost; "):
        assert main(["run", f"resume={folder}"]) == 0
    told = summary(folder)
    assert [told[key] for key in ("digest", "bytes_up", "bytes_down")] == [
        calm[key] for key in ("digest", "bytes_up", "bytes_down")
    ]
    assert set(pd.read_csv(folder / "rounds.csv")["round"]) == set(range(done + 1, 5))


def test_a_run_whose_table_an_older_fedkd_began_ends_with_the_same_one(tmp_path: Path) -> None:
    calm = ends(run(tmp_path / "calm", *WORDS))
    folder = killed(tmp_path / "killed", 20)
    table = pd.read_csv(folder / "rounds.csv", dtype=str)
    table.drop(columns="late").to_csv(folder / "rounds.csv", index=False)
    assert main(["run", f"resume={folder}"]) == 0
    assert ends(folder) == calm


def test_a_record_is_on_the_disk_from_its_beginning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    synced, fsync = set(), os.fsync

    def watched(fd: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    record = Record(tmp_path / "run", "seed: 0\n", {})
    whole = {path.name for path in record.folder.iterdir() if path.is_file() and path.name != ".lock"}
    assert {f"{name}.part" for name in whole} == synced - {"run"}
    synced.clear()
    record.back_to(0)
    assert synced == {"rounds.csv.part", "run"}
    record.close()


def host(state_dir: Path, **config: bool) -> memory.Memory:
    """A host with the tiny data's cameras: in a new process, or (`resident`) in one that stays."""
    node = Context(1, 1, {"state-dir": str(state_dir), **config}, RecordDict(), {})
    return memory.Memory(Message(RecordDict(), 1, "train", group_id=f"{RUN}/1"), node, (*JOB, "rounds=6"))


RUN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    become_server(1)
    memory.forget(os.getpid())
