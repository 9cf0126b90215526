"""Where final students go: into the run's folder where hosts reach it, else to each host's own disk."""

from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict

from clients.memory import students_folder
from simulations.host_grid import new_context
from simulations.identity import become_server

RUN = "0123456789abcdef"
RESULT = "/server/results/run/checkpoint"


def folder_of(context: Context) -> Path:
    become_server(1)
    return students_folder(Message(RecordDict(), 1, "evaluate", group_id=f"{RUN}/4"), context, RESULT)


@pytest.mark.parametrize("state_dir", ["", f"{RESULT}/cameras", "/scratch/fedkd"])
def test_on_one_machine_they_are_part_of_the_result(state_dir: str) -> None:
    assert folder_of(new_context(1, 1, "", state_dir)) == Path(RESULT)


@pytest.mark.parametrize("memories", ["", f"{RESULT}/cameras"], ids=["resumable=false", "resumable=true"])
@pytest.mark.parametrize("state_dir", [None, "/disk/fedkd"])
def test_a_machine_of_a_ray_cluster_keeps_them_on_its_own_disk(memories: str, state_dir: str | None) -> None:
    ray_hosts = pytest.importorskip("simulations.ray_hosts")
    disk = ray_hosts.disk_of(memories, "10.0.0.5:6379", state_dir)
    own = Path(state_dir or "~/.local/state/fedkd").expanduser()
    assert folder_of(new_context(1, 1, "", *disk)) == own / "students" / RUN
    assert disk.memories == (str(state_dir or "~/.local/state/fedkd") if memories else "")


@pytest.mark.parametrize("memories", ["", f"{RESULT}/cameras"], ids=["resumable=false", "resumable=true"])
@pytest.mark.parametrize("state_dir", [None, "/disk/fedkd"])
def test_rays_own_cluster_of_this_machine_keeps_them_in_the_result(memories: str, state_dir: str | None) -> None:
    disk = pytest.importorskip("simulations.ray_hosts").disk_of(memories, None, state_dir)
    assert folder_of(new_context(1, 1, "", *disk)) == Path(RESULT)
    assert disk.memories == (state_dir or memories if memories else "")


@pytest.mark.parametrize("more", [{}, {"warm": True}, {"warm": True, "resident": True}])
def test_a_host_of_a_fleet_keeps_them_in_its_state_dir(more: dict[str, bool]) -> None:
    context = Context(1, 1, {"state-dir": "~/camera", **more}, RecordDict(), {"state-dir": ""})
    assert folder_of(context) == Path("~/camera").expanduser() / "students" / RUN


def test_in_flowers_simulation_they_are_part_of_the_result() -> None:
    context = Context(1, 1, {"partition-id": 0}, RecordDict(), {"state-dir": f"{RESULT}/cameras"})
    assert folder_of(context) == Path(RESULT)
