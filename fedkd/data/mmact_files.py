"""MMAct on disk: trimmed videos of four cameras and trimmed readings of four worn sensors, one file a performance.

Kong, Wu, Deng, Klinkigt, Tong, Murakami. MMAct: A Large-Scale Dataset for Cross Modal Human Action Understanding. ICCV
2019. https://doi.org/10.1109/ICCV.2019.00875; recordings, on request: https://mmact19.github.io/2019/. 20 people, four
scenes, up to five sessions. All below `trimmed`, wherever the archives were unpacked in it:

* ``subject<n>/cam<n>/scene<n>/session<n>/<action>.mp4``, 1920 x 1080 at 30 Hz; the 2021 challenge's release, whose
  readme is the one official description of the folders, has ``cam<n>/subject<n>/...``, so either order is read;
* ``<sensor>/subject<n>/scene<n>/session<n>/<action>.csv``: acc_phone_clip and acc_watch_clip (100 Hz, m/s^2), gyro_clip
  and orientation_clip of the phone (50 Hz; azimuth, pitch, roll, here turned into what is up and where north is:
  `fedkd.data.attitude`). [RECON] that these are Android's `getOrientation` in degrees: neither unit nor definition is
  told, so a reading that cannot be that is refused. The phone is in the right pocket of the trousers, the watch on the
  right wrist. A row is ``20181016_13:33:45.170,x,y,z``; a first line of names may or may not be there.

The file's name is the label, and there are 35 names. The paper's 37 classes, which are meant here, tell
"talking_on_phone" and "using_phone" at the desk (scene 3) from those elsewhere; programs with 35 classes take the names
for classes, those with 36 list one name twice. The release numbers no class: here they follow the alphabet.

What is wrong with the release, and what is done here:

* Some sensor files have no byte: `read_folder` counts them, their performances are none of that sensor's.
* Some names are capitalised ("Carrying_light"); some times repeat or are out of order, a few lack their fraction.

What cannot be seen: whether a reading was cut between two rows, or within the last number of its last row, which is a
number still. That the release ends its last rows is not known, so a last row without an end is neither broken nor
believed: it is left out, which costs a sound reading a hundredth of a second.

Not read: the glasses' first-person videos, keypoints, Wi-Fi, pressure, and what is untrimmed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from fedkd.data.attitude import directed, up_and_north
from fedkd.data.check import Broken
from fedkd.data.moments import at_even_moments
from fedkd.data.release import release_folder, single

PUBLISHED_AT = "https://mmact19.github.io/2019/"
CAMERAS = ("cam1", "cam2", "cam3", "cam4")
SENSORS = ("acc_phone_clip", "gyro_clip", "orientation_clip", "acc_watch_clip")
NUMBERS = {"subject": range(1, 21), "scene": range(1, 5), "session": range(1, 6)}
DESK = 3
"""The scene in which two names are classes of their own. [RECON] from public code; the paper shows it, unnumbered."""

NAMES = (
    "carrying", "carrying_heavy", "carrying_light", "checking_time", "closing", "crouching", "drinking", "entering",
    "exiting", "fall", "jumping", "kicking", "loitering", "looking_around", "opening", "picking_up", "pocket_in",
    "pocket_out", "pointing", "pulling", "pushing", "running", "setting_down", "sitting", "sitting_down", "standing",
    "standing_up", "talking", "talking_on_phone", "throwing", "transferring_object", "using_pc", "using_phone",
    "walking", "waving_hand",
)  # fmt: skip
"""What files are called."""

_AT_DESK = ("talking_on_phone", "using_phone")
ACTIONS = tuple(sorted((*NAMES, *(f"{name}_desk" for name in _AT_DESK))))
"""Classes 0..36."""

SAMPLES = 256
"""Evenly spaced moments of a reading that are kept."""

_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)_(\d\d:\d\d:\d\d(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Recording:
    """What a file's place and name say of it. `source` is of CAMERAS or SENSORS; `label` 0-based."""

    event: str
    label: int
    subject: int
    scene: int
    session: int
    source: str
    path: Path


def folder_of(data_dir: str | None) -> Path:
    """The folder of the trimmed recordings; where there is none, a sentence that says where to get them."""
    return release_folder("mmact", data_dir, ("trimmed/**/*.mp4", "trimmed/**/*.csv"), PUBLISHED_AT) / "trimmed"


def read_folder(folder: Path) -> tuple[list[Recording], list[Broken], list[str]]:
    """Every recording by its file's name; the files that are in no place or of no name; those of no byte."""
    recordings, broken, empty = [], [], []
    seen: dict[tuple[str, str], Path] = {}
    for path in sorted(_files(folder)):
        recording = said(path, folder)
        name = str(path.relative_to(folder))
        if isinstance(recording, str):
            broken.append(Broken(name, recording))
        elif first := seen.get((recording.source, recording.event)):
            broken.append(Broken(name, f"it is the same performance as {first.relative_to(folder)}"))
        elif path.stat().st_size == 0 and recording.source in SENSORS:
            empty.append(name)
        else:
            seen[recording.source, recording.event] = path
            recordings.append(recording)
    return recordings, broken, empty


def _files(folder: Path) -> list[Path]:
    return [*folder.rglob("*.mp4"), *folder.rglob("*.csv")]


def said(path: Path, folder: Path) -> Recording | str:
    """What a file's place and name say of it, or what is wrong with them."""
    above = path.relative_to(folder).parts[:-1]
    sources = [part for part in above if part in (CAMERAS if path.suffix == ".mp4" else SENSORS)]
    if len(sources) != 1:
        wanted = "one of cam1 to cam4" if path.suffix == ".mp4" else f"one of {', '.join(SENSORS)}"
        return f"it lies below {len(sources)} folders of {wanted}, not 1"
    numbers = {}
    for level, there in NUMBERS.items():
        found = [int(match[1]) for part in above if (match := re.fullmatch(rf"{level}(\d+)", part))]
        if len(found) != 1 or found[0] not in there:
            return f"it does not lie in a folder {level}{there[0]} to {level}{there[-1]}"
        numbers[level] = found[0]
    name = path.stem.strip().lower()
    if name not in NAMES:
        return f"its name {path.stem!r} is none of the 35 actions"
    action = f"{name}_desk" if name in _AT_DESK and numbers["scene"] == DESK else name
    event = "_".join([*(f"{level}{number}" for level, number in numbers.items()), name])
    return Recording(event, ACTIONS.index(action), **numbers, source=sources[0], path=path)


def named(path: Path) -> str:
    """A file, told from every other of the release by its name and the folders above it."""
    return "/".join(path.parts[-5:])


def reading(path: Path) -> Float[np.ndarray, "256 3"] | str:
    """A sensor's three numbers at evenly spaced moments from first row to last."""
    read = rows(path)
    return read if isinstance(read, str) else at_even_moments(*read, SAMPLES)


def attitude(path: Path) -> Float[np.ndarray, "256 2 3"] | str:
    """What is up, and where north is, along the phone's axes at evenly spaced moments, from its orientation sensor."""
    read = rows(path)
    if isinstance(read, str):
        return read
    seconds, angles = read
    if np.abs(angles).max() > 360 or np.abs(angles[:, 1]).max() > 90:
        return (
            "its azimuth, pitch and roll are not within 360, 90 and 360 degrees, as Android's getOrientation has them"
        )
    if np.abs(angles).max() <= 2 * np.pi:
        return "its angles never leave 2 pi: they seem to be radians, degrees are expected"
    vectors = up_and_north(angles).reshape(-1, 6)
    return directed(at_even_moments(seconds, vectors, SAMPLES).reshape(-1, 2, 3)).astype(np.float32)


def rows(path: Path) -> tuple[Float[np.ndarray, "T"], Float[np.ndarray, "T 3"]] | str:
    """(seconds since 1970, values) in the order of time, no time twice; or what is wrong with the file.

    A last row that does not end may have been cut: it must look like a row, and is left out.
    """
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        return f"it is no text: {error}"
    table = [line.split(",") for line in text.splitlines() if line.strip()]
    if table and table[0][0].strip().lower() == "time":
        table = table[1:]
    if not table:
        return "it has no row"
    for number, row in enumerate(table, 1):
        if len(row) != 4 or not _TIME.fullmatch(row[0].strip()):
            return f"row {number} of {len(table)} is {','.join(row)[:40]!r}, not time,x,y,z: truncated or damaged"
    try:
        times = np.array([_TIME.sub(r"\1-\2-\3T\4", row[0].strip()) for row in table], dtype="datetime64[us]")
        values = np.array([row[1:] for row in table], dtype=np.float64)
    except ValueError as error:
        return f"it is no table of times and numbers: {error}"
    if not np.isfinite(single(values)).all():
        return "it has numbers that are not finite"
    if not text.endswith("\n"):
        if len(table) == 1:
            return "its only row does not end: truncated"
        times, values = times[:-1], values[:-1]
    seconds, first = np.unique(times.astype(np.int64) / 1e6, return_index=True)
    return seconds, values[first]
