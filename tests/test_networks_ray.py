"""A Ray cluster of machines that are network namespaces: cameras pinned to them, and several runs at once."""

import json
import time
from pathlib import Path

import pytest
from tiny import JOB, only_folder, run, statuses, summary

from simulations.emulated.network import Network, missing
from simulations.emulated.switch import Link

cluster = pytest.importorskip("simulations.emulated.cluster")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.skipif(bool(why := missing()), reason=why)]

VIEWS = {"cam1": ["v01"], "cam2": ["v02"], "cam3": ["v03"]}
HOME = Link(rate=20, delay=25, loss=0.01)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory):
    with Network({cluster.HEAD: Link(), **dict.fromkeys(VIEWS, HOME)}) as network:
        machines = cluster.Cluster(network, tmp_path_factory.mktemp("ray"), VIEWS, cores=2)
        machines.start()
        yield machines


def words(tmp_path: Path, *more: str) -> list[str]:
    return [*JOB, f"results_dir='{tmp_path / 'results'}'", f"place.state_dir='{tmp_path / 'state'}'", *more]


def test_pinned_cameras_over_the_network_give_the_same_bits(machines, tmp_path: Path) -> None:
    calm = summary(run(tmp_path / "calm", "place.workers=1"))
    assert machines.begin("run", *words(tmp_path)).wait(timeout=120) == 0
    told = summary(only_folder(tmp_path / "results"))
    assert told["digest"] == calm["digest"] and told["place"] == "ray" and told["failures"] == []
    assert all(sent > 10_000 for sent, _ in machines.network.carried().values()), "every machine took part"


def test_a_sweep_runs_as_many_at_once_as_the_smallest_machine_has_cores(machines, tmp_path: Path) -> None:
    with open(tmp_path / "said", "w") as said:
        asked = machines.begin("run", "-m", *words(tmp_path, "seed=0,1,2"), stdout=said, stderr=said)
        assert asked.wait(timeout=240) == 0
    assert (tmp_path / "said").read_text().startswith("3 runs, 2 at once, each on one worker")
    found = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("summary.json")]
    assert sorted(told["seed"] for told in found) == [0, 1, 2] and {told["place"] for told in found} == {"ray"}
    for told in found:
        assert told["digest"] == summary(run(tmp_path / "calm", "place.workers=1", f"seed={told['seed']}"))["digest"]


def test_a_run_whose_server_is_killed_goes_on_with_the_same_bits(machines, tmp_path: Path) -> None:
    """The driver dies, and the actors with it; new ones go back to where the last whole round left the cameras."""
    asked = words(tmp_path, "rounds=30", "evaluate_every=10")
    calm = summary(run(tmp_path / "calm", "place.workers=1", "rounds=30", "evaluate_every=10"))
    server = machines.begin("run", *asked)
    while not [path for path in tmp_path.rglob("results/**/rounds.csv") if path.read_text().count("\n") > 16]:
        assert server.poll() is None
        time.sleep(0.02)
    server.kill()
    server.wait()
    folder = only_folder(tmp_path / "results")
    done = summary(folder)["rounds_done"]
    assert 3 < done < 30
    assert machines.begin("run", f"resume={folder}").wait(timeout=240) == 0
    told = summary(folder)
    assert told["status"] == "finished" and told["digest"] == calm["digest"] and told["accuracy"] == calm["accuracy"]
    assert {status for (round, _), status in statuses(folder).items() if round} == {"ok"} and told["failures"] == []


def test_a_machine_that_is_gone_and_comes_back_costs_its_view_rounds(machines, tmp_path: Path) -> None:
    asked = machines.begin("run", *words(tmp_path, "rounds=60", "evaluate_every=60", "timeout=10"))
    while not [path for path in tmp_path.rglob("rounds.csv") if path.read_text().count("\n") > 8]:
        assert asked.poll() is None
        time.sleep(0.1)
    machines.network.kill("cam2")
    while machines.machines() > 3:
        assert asked.poll() is None
    machines.join("cam2")
    assert asked.wait(timeout=500) == 0
    folder = only_folder(tmp_path / "results")
    status = statuses(folder)
    assert summary(folder)["status"] == "finished"
    assert all(status[round, view] == "ok" for round in range(1, 61) for view in ("v01", "v03"))
    assert status[1, "v02"] == "ok" and {status[round, "v02"] for round in range(1, 61)} != {"ok"}
    assert status[60, "v02"] == "ok"
