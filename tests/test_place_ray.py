"""The place `ray`: the same bits as in one process, views pinned to machines, and a lost actor is ordinary."""

import os
import signal
from functools import partial

import pytest
from tiny import run, statuses, summary

from fedkd.errors import UserError
from simulations.processes import free_port
from strategies.observer import Observer

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ray = pytest.importorskip("ray")
ray_hosts = pytest.importorskip("simulations.ray_hosts")


@pytest.fixture(autouse=True)
def _ray_ends_with_the_test():
    yield
    assert not ray.is_initialized()


def test_same_seed_same_bits_as_in_one_process(tmp_path):
    here = summary(run(tmp_path / "here", "place.workers=1"))
    there = summary(run(tmp_path / "there", "place=ray", "place.workers=2"))
    assert there["digest"] == here["digest"]
    assert there["place"] == "ray"


def test_an_actor_killed_after_round_1_is_started_again_and_goes_on_from_its_disk(monkeypatch, tmp_path):
    made = []
    calm = run(tmp_path / "calm", "rounds=6", "place.workers=1")

    class Seen(ray_hosts.RayHosts):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    observe = Observer.__call__

    def observe_and_kill(self, server_round, arrays):
        observe(self, server_round, arrays)
        if server_round == 1:
            os.kill(ray.get(made[0].actors[2].process.remote()), signal.SIGKILL)  # hosts are dealt: 1, 2, 0

    monkeypatch.setattr(ray_hosts, "RayHosts", Seen)
    monkeypatch.setattr(Observer, "__call__", observe_and_kill)
    folder = run(tmp_path / "killed", "rounds=6", "place=ray", "place.workers=3")
    told, states = summary(folder), statuses(folder)
    assert told["status"] == "finished" and sorted(told["accuracy"]) == ["v01", "v02", "v03"]
    lost = [round for round in range(1, 7) if states[round, "v02"] != "ok"]
    assert lost in ([], [2], [2, 3], [2, 3, 4]), "messages are lost until the actor is there again, and no other"
    assert {states[round, "v02"] for round in lost} <= {"ConnectionError: the host's actor ended"}
    assert {failure["view"] for failure in told["failures"]} <= {"v02"}
    if not lost:
        assert told["digest"] == summary(calm)["digest"]
    assert all(states[round, "v03"] == "ok" for round in range(1, 7))


def test_an_address_where_nobody_answers_is_refused_at_once(tmp_path):
    with pytest.raises(UserError, match=r"expected a Ray cluster at place.address=127.0.0.1:\d+"):
        run(tmp_path, "place=ray", f"place.address='127.0.0.1:{free_port()}'")


def test_views_offered_by_machines_are_pinned_and_the_others_do_not_take_part(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ray, "init", partial(ray.init, resources={"view_v01": 1, "view_v03": 1, "view_elsewhere": 1}))
    told = summary(run(tmp_path, "place=ray", "place.workers=1"))
    assert sorted(told["accuracy"]) == ["v01", "v03"]
    assert "no machine of the cluster offers v02" in capsys.readouterr().err


def test_an_actor_that_cannot_start_is_named_and_the_others_go_on(monkeypatch, tmp_path, capsys):
    class Unable(ray_hosts.HostActor):
        def __init__(self, run_id, overrides, disk, views):
            if views == "v02":
                raise ModuleNotFoundError("No module named 'fedkd'")
            super().__init__(run_id, overrides, disk, views)

    offered = {f"view_{view}": 1 for view in ("v01", "v02", "v03")}
    monkeypatch.setattr(ray_hosts, "HostActor", Unable)
    monkeypatch.setattr(ray, "init", partial(ray.init, resources=offered))
    told = summary(run(tmp_path, "place=ray", "place.workers=1"))
    assert sorted(told["accuracy"]) == ["v01", "v03"]
    said = "the actor of v02 cannot start: ModuleNotFoundError: No module named 'fedkd'; the run goes without it"
    assert said in capsys.readouterr().err


def test_actors_none_of_which_can_start_end_the_run_with_the_reason(monkeypatch, tmp_path):
    class Unable(ray_hosts.HostActor):
        def __init__(self, *_):
            raise ModuleNotFoundError("No module named 'fedkd'")

    monkeypatch.setattr(ray_hosts, "HostActor", Unable)
    with pytest.raises(UserError, match=r"got none; cannot start: ModuleNotFoundError: No module named 'fedkd'\."):
        run(tmp_path, "place=ray", "place.workers=2")
