"""The place `local`: the same bits from any number of processes, and a lost camera is ordinary."""

import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from tiny import JOB, only_folder, run, started_with, statuses, summary

from clients.camera import Camera
from fedkd import record
from fedkd.errors import UserError
from simulations import local
from simulations.host_grid import HostGrid
from simulations.identity import become_server, stamp
from simulations.local import _send

forks = pytest.mark.skipif(sys.platform != "linux", reason="the fake must be in the worker: only a fork has it")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return summary(run(tmp_path_factory.mktemp("reference"), "place.workers=1"))


def during_training(monkeypatch, act, view, round):
    """Have `act` happen when `view` begins to train in `round`."""
    train = Camera.train

    def instead(self, now):
        if self.view.name in view and now == round:
            act()
        return train(self, now)

    monkeypatch.setattr(Camera, "train", instead)


@pytest.mark.parametrize("place", ["place.workers=3", "place.workers=2", "place.workers=1 place.hosts=2"])
def test_same_seed_same_bits_in_any_number_of_processes(place, reference, tmp_path):
    assert summary(run(tmp_path, *place.split()))["digest"] == reference["digest"]


def test_another_seed_other_bits(reference, tmp_path):
    assert summary(run(tmp_path, "place.workers=1", "seed=1"))["digest"] != reference["digest"]


def test_where_every_label_is_known_an_exchange_changes_nothing(tmp_path):
    full = ("place.workers=1", "data.labels=1.0", "teacher=none")
    alone, told = (summary(run(tmp_path / s, *full, f"strategy={s}")) for s in ("alone", "distil"))
    assert alone["digest"] == told["digest"] and alone["accuracy"] == told["accuracy"]


@pytest.mark.parametrize("extra", [[], ["+student.schooling.ema=0.99"], ["teaching.origin=federated"]])
def test_a_camera_packed_into_the_context_between_messages_goes_on_with_the_same_bits(extra, monkeypatch, tmp_path):
    here = summary(run(tmp_path / "stays", "place.workers=1", *extra))
    monkeypatch.setattr(local, "new_context", lambda run_id, node, overrides, _: _travelling(run_id, node, overrides))
    assert summary(run(tmp_path / "travels", "place.workers=1", *extra))["digest"] == here["digest"]


def _travelling(run_id, node, overrides):
    return Context(run_id, node, {}, RecordDict(), {"overrides": overrides})


@forks
def test_a_worker_killed_in_round_2_costs_its_view_that_round_and_another_goes_on(monkeypatch, tmp_path):
    during_training(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGKILL), "v02", round=2)
    folder = run(tmp_path, "place.workers=3", "rounds=3")
    told, status = summary(folder), statuses(folder)
    assert told["status"] == "finished" and sorted(told["accuracy"]) == ["v01", "v02", "v03"]
    assert {(f["round"], f["view"]) for f in told["failures"]} == {(2, "v02")}
    assert "ended" in status[2, "v02"] and status[1, "v02"] == status[3, "v02"] == "ok"
    assert all(status[round, view] == "ok" for round in (1, 2, 3) for view in ("v01", "v03"))


@forks
def test_a_worker_killed_at_an_exam_changes_no_bit_of_what_is_learned(monkeypatch, tmp_path):
    calm = run(tmp_path / "calm", "place.workers=1", "rounds=3", "evaluate_every=1")
    here = os.getpid()
    sit = Camera.sit

    def sit_or_die(self, view, exam):
        if view == "v02" and os.getpid() != here:  # and the process that takes its place knows nothing of this
            os.kill(os.getpid(), signal.SIGKILL)
        return sit(self, view, exam)

    monkeypatch.setattr(Camera, "sit", sit_or_die)
    folder = run(tmp_path / "killed", "place.workers=3", "rounds=3", "evaluate_every=1")
    assert [(f["round"], f["view"]) for f in summary(folder)["failures"]] == [(1, "v02")]
    assert summary(folder)["digest"] == summary(calm)["digest"]


def test_a_client_that_raises_in_one_round_is_heard_again_in_the_next(monkeypatch, tmp_path):
    def stumble():
        raise RuntimeError("the disk is slow today")

    during_training(monkeypatch, stumble, "v03", round=1)
    folder = run(tmp_path, "place.workers=1")
    assert summary(folder)["failures"] == [
        {"round": 1, "view": "v03", "reason": "RuntimeError: the disk is slow today"}
    ]
    assert statuses(folder)[1, "v03"] == "RuntimeError: the disk is slow today"
    assert statuses(folder)[2, "v03"] == "ok"
    assert sorted(summary(folder)["accuracy"]) == ["v01", "v02", "v03"]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_view_whose_recordings_cannot_be_read_is_named_and_left_out(workers, tmp_path):
    told = summary(run(tmp_path, f"place.workers={workers}", "data.broken_view=v02"))
    assert told["status"] == "finished"
    assert sorted(told["accuracy"]) == ["v01", "v03"]
    assert told["failures"][0]["view"] == "v02"
    assert "cannot be read" in told["failures"][0]["reason"]


def test_a_broken_view_leaves_the_other_views_of_its_host_alone(tmp_path):
    folder = run(tmp_path, "data.views=4", "data.broken_view=v02", "place.workers=1", "place.hosts=2")
    said = summary(folder)
    assert sorted(said["accuracy"]) == ["v01", "v03", "v04"]
    assert [failure["view"] for failure in said["failures"]] == ["v02"]


def test_teachers_sit_the_exam_beside_their_students(reference, tmp_path):
    taught = reference["accuracy_teacher"]
    assert sorted(taught) == ["v01", "v02", "v03"] and all(0 <= right <= 1 for right in taught.values())
    assert summary(run(tmp_path, "place.workers=1", "strategy=alone"))["accuracy_teacher"] == {}


def test_students_that_cannot_be_kept_cost_the_files_and_not_the_exam(monkeypatch, tmp_path):
    def occupy():
        for view in ("v01", "v02", "v03"):
            (only_folder(tmp_path) / "checkpoint" / f"{view}.safetensors").mkdir()  # where the file should be

    during_training(monkeypatch, occupy, "v01", round=2)
    told = summary(run(tmp_path, "place.workers=1", "strategy=alone"))
    assert told["status"] == "finished" and sorted(told["accuracy"]) == ["v01", "v02", "v03"]
    assert [(f["round"], f["view"]) for f in told["failures"]] == [(2, "v01"), (2, "v02"), (2, "v03")]
    assert all("cannot write to" in f["reason"] and "Is a directory" in f["reason"] for f in told["failures"])


def test_too_few_views_end_the_run(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=r"2 of 3 views answered at enrolment, 3 needed: OSError"):
        run(tmp_path / "enrolment", "place.workers=1", "data.broken_view=v02", "min_views=3")

    def stumble():
        raise RuntimeError("no power")

    during_training(monkeypatch, stumble, "v01", round=2)
    with pytest.raises(UserError, match=r"2 of 3 views answered in round 2, 3 needed: RuntimeError: no power"):
        run(tmp_path / "round", "place.workers=1", "min_views=3")


def test_more_views_than_there_are_cannot_be_asked_for(tmp_path):
    with pytest.raises(UserError, match="min_views must be at most 3, the number of views, got 4"):
        run(tmp_path, "place.workers=1", "min_views=4")
    assert not list(tmp_path.iterdir())


def test_pooled_recordings_have_one_pupil_whatever_min_views_is(tmp_path):
    assert summary(run(tmp_path, "place.workers=1", "strategy=central", "min_views=3"))["status"] == "finished"


def test_when_all_clients_fail_the_run_ends_with_their_reason(monkeypatch, tmp_path):
    def stumble():
        raise RuntimeError("no power")

    during_training(monkeypatch, stumble, ("v01", "v02", "v03"), round=2)
    with pytest.raises(UserError, match=r"0 of 3 views answered in round 2, 1 needed: RuntimeError: no power"):
        run(tmp_path, "place.workers=1")
    told = summary(only_folder(tmp_path))
    assert told["status"] == "failed"
    assert "no power" in told["reason"]
    assert told["rounds_done"] == 1


@forks
def test_a_host_that_hangs_costs_its_own_answer_only_and_ends_with_the_place(monkeypatch):
    def sleeps(message, context):
        time.sleep(600 if message.metadata.dst_node_id == 1 else 0)
        return Message(RecordDict(), reply_to=message)

    monkeypatch.setattr(local, "client_app", sleeps)
    hosts = local.HostsInWorkers(4, run_id=1, overrides="", state_dir="", workers=2)
    grid = HostGrid(hosts, run_id=1)
    large = ConfigRecord({"larger than a pipe": bytes(1 << 20)})
    asked = [Message(RecordDict({"about": large}), node, "train") for node in (1, 2, 3, 4)]
    replies = grid.send_and_receive(asked, timeout=2)  # hosts 1 and 3 share a worker
    assert sorted(reply.metadata.src_node_id for reply in replies) == [2, 4]
    began = time.monotonic()
    hosts.close()
    assert time.monotonic() - began < 5
    assert not any(worker.process.is_alive() for worker in hosts.workers)


@forks
def test_workers_in_the_midst_of_an_answer_end_with_the_process_that_asked(monkeypatch):
    """Else they would work on for minutes beside the run that goes on."""
    heard, told = multiprocessing.Pipe(duplex=False)

    def works_on(message, context):
        told.send(os.getpid())
        time.sleep(600)

    def asks():
        hosts = local.HostsInWorkers(2, run_id=1, overrides="", state_dir="", workers=2)
        hosts.submit([Message(RecordDict(), node, "train") for node in (1, 2)])
        time.sleep(600)

    monkeypatch.setattr(local, "client_app", works_on)
    become_server(1)
    parent = multiprocessing.get_context("fork").Process(target=asks)
    parent.start()
    told.close()
    workers = [heard.recv(), heard.recv()]
    try:
        parent.kill()
        assert heard.poll(10)
        with pytest.raises(EOFError):  # nobody is left who could say a word
            heard.recv()
    finally:
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        parent.join()


class Unreadable:
    def __reduce__(self):
        return int, ("no number",)


@forks
def test_a_reply_that_cannot_be_read_leaves_none_behind_to_be_taken_for_others(monkeypatch):
    def client(message, context):
        return Unreadable() if message.metadata.dst_node_id == 1 else Message(RecordDict(), reply_to=message)

    monkeypatch.setattr(local, "client_app", client)
    hosts = local.HostsInWorkers(3, run_id=1, overrides="", state_dir="", workers=1)
    [worker] = hosts.workers
    first, asked = worker.process.pid, [Message(RecordDict(), node, "train") for node in (1, 2, 3)]
    lost = [future.exception(timeout=60) for future in hosts.submit(asked)]
    assert all("no number" in str(error) for error in lost)
    worker._last.result(timeout=60)
    assert worker.process.pid != first and not worker.pipe.poll()
    hosts.close()


@forks
@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_worker_outlives_the_command(sent, code, tmp_path):
    command = [sys.executable, "-m", "simulations.cli", "run", *JOB, "rounds=100000", "place.workers=2"]
    process = subprocess.Popen(
        [*command, f"results_dir='{tmp_path}'"],
        env={**os.environ, "FEDKD_TEST_MARK": str(tmp_path)},
        start_new_session=True,
        stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # which a shell's `&` ignores
    )
    try:
        _wait_for(lambda: any((1, "v01") in statuses(path.parent) for path in tmp_path.rglob("rounds.csv")))
        (os.killpg if sent == signal.SIGINT else os.kill)(process.pid, sent)  # Ctrl-C reaches the whole group
        _, said = process.communicate(timeout=60)
        assert process.returncode == code
        assert b"Traceback" not in said
        _wait_for(lambda: not started_with("FEDKD_TEST_MARK", tmp_path))
    finally:
        for pid in started_with("FEDKD_TEST_MARK", tmp_path):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_one_thread_is_used_whatever_the_machine_has(reference):
    assert torch.get_num_threads() == 1


def test_a_reply_that_cannot_be_packed_is_answered_by_why() -> None:
    """Replies are matched to messages by their order, so none may be missing."""
    become_server(1)
    here, there = multiprocessing.Pipe()
    message = Message(RecordDict(), 1, "train")
    stamp(message)
    _send(there, message, lambda: None)  # type: ignore[arg-type]
    reply = pickle.loads(here.recv_bytes())
    assert reply.has_error() and "lambda" in reply.error.reason


def test_every_entry_of_a_summary_is_documented(tmp_path):
    documented = set(re.findall(r"\w+", record.__doc__))
    folder = run(tmp_path, "place.workers=1")
    assert summary(folder).keys() <= documented
    assert {path.name.partition(".")[0] for path in folder.iterdir() if path.name != ".lock"} <= documented
