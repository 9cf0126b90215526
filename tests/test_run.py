"""What a run is told names the same folders wherever the processes of its place work, and wherever it goes on."""

from pathlib import Path
from typing import Any

import pytest
from tiny import JOB

from fedkd.config import from_string, load
from fedkd.errors import UserError
from simulations.run import run_one


def told(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str) -> tuple[Any, dict[str, Any]]:
    """(place of the overrides, settings) as a place is told them that is started in `tmp_path` by these words."""
    heard = []

    def run(overrides: str, folder: Path, num_views: int, **settings: Any) -> None:
        heard.append((load(from_string(overrides)).place, settings))

    run.__module__ = place  # else it is nobody of ours
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(place, run)
    run_one([*JOB, *words])
    return heard[0]


def test_a_kit_is_found_from_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place, settings = told("simulations.fleet.place.run", monkeypatch, tmp_path, "place=fleet", "place.kit=fleet")
    assert place.kit == settings["kit"] == str(tmp_path / "fleet")


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (("place.state_dir=state",), "{here}/state"),
        ((), None),
        (("place.state_dir=/state", "place.address='10.0.0.5:6379'"), "/state"),
        (("place.state_dir='~/state'", "place.address='10.0.0.5:6379'"), "~/state"),
    ],
)
def test_memories_are_where_they_were(
    words: tuple[str, ...], there: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place, settings = told("simulations.ray_hosts.run", monkeypatch, tmp_path, "place=ray", *words)
    assert place.state_dir == settings["state_dir"] == (there and there.format(here=tmp_path))


def test_on_a_cluster_a_relative_folder_of_memories_is_refused() -> None:
    with pytest.raises(UserError, match=r"every machine of the cluster understands, got 'state'; begin it with /"):
        run_one([*JOB, "place=ray", "place.address='127.0.0.1:1'", "place.state_dir=state"])
