"""A file is whole or as it was, a private one is nobody else's at any moment, and one process holds a folder."""

import errno
import os
import stat
from pathlib import Path

import pytest

from fedkd.errors import UserError
from fedkd.files import held, holding, write_whole, writing_to


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_whole(path, b"one", durable=True)

    def full(draft: Path, there: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        UserError, match=r"cannot write to .*: No space left on device; what was written before is kept"
    ):
        write_whole(path, b"two", durable=True)
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free the disk"),
        (errno.EDQUOT, "free the disk"),
        (errno.EACCES, "let this user write there"),
        (errno.EROFS, "let this user write there"),
        (errno.EIO, "see to that"),
    ],
)
def test_what_to_do_is_what_helps(number: int, advice: str, tmp_path: Path) -> None:
    said = f"{os.strerror(number)}; what was written before is kept, {advice} and run again"
    with pytest.raises(UserError, match=said), writing_to(tmp_path):
        raise OSError(number, os.strerror(number))


def test_a_private_file_is_private_whatever_an_interrupted_writer_left(tmp_path: Path) -> None:
    path = tmp_path / "kit" / "key.pem"
    write_whole(path, b"one", private=True)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    draft = path.with_name("key.pem.part")
    draft.write_bytes(b"one, in p")
    draft.chmod(0o644)
    write_whole(path, b"two", private=True)
    assert path.read_bytes() == b"two" and mode(path) == 0o600 and not draft.exists()


def test_a_folder_is_held_until_it_is_let_go(tmp_path: Path) -> None:
    assert not held(tmp_path)
    with holding(tmp_path, "somebody else is here"):
        assert held(tmp_path)
        with pytest.raises(UserError, match="somebody else is here"):
            holding(tmp_path, "somebody else is here")
    assert not held(tmp_path)
