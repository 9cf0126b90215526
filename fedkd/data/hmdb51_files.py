"""HMDB51 on disk: one .avi a clip in a folder of its class, and the authors' lists of who trains and who tests.

Kuehne, Jhuang, Garrote, Poggio, Serre. HMDB: A Large Video Database for Human Motion Recognition. ICCV 2011.
https://doi.org/10.1109/ICCV.2011.6126543; videos and lists:
https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/. 51 actions cut from films and web videos;
6,766 clips in the release (the paper says 6,849), ``<class>/<source>_<class>_<properties>_<n>.avi``, where the source
is the film or upload. The lists are ``testTrainMulti_7030_splits/<class>_test_split<1|2|3>.txt``, for each clip a line
``<file> <0|1|2>``: 0 is left out, 1 trains (70 a class), 2 tests (30 a class).

Who is filmed is not told. Clips of one source were to be kept on one side of a split; `sources_on_both_sides` counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedkd.data.check import Broken
from fedkd.data.release import release_folder

PUBLISHED_AT = "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/"
PUBLISHED_CLIPS = 6766
LISTS = "testTrainMulti_7030_splits"
SPLITS = {"split1": 1, "split2": 2, "split3": 3}

ACTIONS = (
    "brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive", "draw_sword", "dribble",
    "drink", "eat", "fall_floor", "fencing", "flic_flac", "golf", "handstand", "hit", "hug", "jump", "kick",
    "kick_ball", "kiss", "laugh", "pick", "pour", "pullup", "punch", "push", "pushup", "ride_bike", "ride_horse",
    "run", "shake_hands", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp", "smile", "smoke", "somersault",
    "stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw", "turn", "walk", "wave",
)  # fmt: skip
"""Classes 0..50: the folders, in the alphabet's order."""

_ROLES = {"0": "unused", "1": "train", "2": "test"}


@dataclass(frozen=True, slots=True)
class Recording:
    """One video. `event` is <class>/<file's name without .avi>; `label` 0-based."""

    event: str
    label: int
    path: Path

    @property
    def source(self) -> str:
        """The film or upload that it was cut from, as its name says."""
        return self.path.stem.rpartition(f"_{ACTIONS[self.label]}_")[0] or self.path.stem


def folder_of(data_dir: str | None) -> Path:
    """The folder that holds the classes' folders; where there is none, a sentence that says where to get them."""
    return release_folder("hmdb51", data_dir, ("*/*.avi",), PUBLISHED_AT)


def read_folder(folder: Path) -> list[Recording]:
    """Every video by class and name; none is opened."""
    return [
        Recording(named(path), label, path)
        for label, action in enumerate(ACTIONS)
        for path in sorted((folder / action).glob("*.avi"))
    ]


def strays(folder: Path) -> list[Broken]:
    """Folders of videos that are no class of the data set."""
    found = sorted({path.parent.name for path in folder.glob("*/*.avi")} - set(ACTIONS))
    return [Broken(name, "this folder of videos is none of the 51 classes: rename or remove it") for name in found]


def named(path: Path) -> str:
    """A video's event."""
    return f"{path.parent.name}/{path.stem}"


def read_split(folder: Path, split: str) -> tuple[Mapping[str, str], list[Broken]]:
    """event -> "train", "test" or "unused", and what is wrong with the lists."""
    if not (folder / LISTS).is_dir():
        return {}, [Broken(LISTS, f"the folder of the official lists is missing ({PUBLISHED_AT})")]
    roles: dict[str, str] = {}
    broken: list[Broken] = []
    for action in ACTIONS:
        path = folder / LISTS / f"{action}_test_split{SPLITS[split]}.txt"
        if not path.is_file():
            broken.append(Broken(path.name, "this official list is missing"))
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            file, _, told = line.strip().rpartition(" ")
            if line.strip() and (told not in _ROLES or not file):
                broken.append(Broken(path.name, f"line {number} is {line.strip()!r}, not a file and 0, 1 or 2"))
            elif line.strip():
                role = roles.setdefault(f"{action}/{file.strip().removesuffix('.avi')}", _ROLES[told])
                if role != _ROLES[told]:
                    broken.append(Broken(path.name, f"it lists {file.strip()} for {role} and for {_ROLES[told]}"))
    return roles, broken


def sources_on_both_sides(recordings: Iterable[Recording], roles: Mapping[str, str]) -> set[str]:
    """Films and uploads with clips in training and in the test."""
    sides = {role: {r.source for r in recordings if roles.get(r.event) == role} for role in ("train", "test")}
    return sides["train"] & sides["test"]
