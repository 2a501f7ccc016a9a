"""A file appears complete or not at all."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from voxelsmith.core.errors import ResourceError
from voxelsmith.core.volume import Volume
from voxelsmith.io import write
from voxelsmith.io.atomic import replacing


def test_the_target_changes_only_at_the_end(tmp_path):
    target = tmp_path / "a.nii.gz"
    target.write_text("old")
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.nii.gz"]


def test_any_failure_keeps_the_old_file_and_removes_the_new(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyError("cancelled")

    with pytest.raises(KeyError):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "no room"),
        (errno.EDQUOT, "no room"),
        (errno.EACCES, "not permitted"),
        (errno.EROFS, "not permitted"),
        (errno.EIO, "could not be written"),
    ],
)
def test_refusals_of_the_machine_get_a_sentence(tmp_path, code, sentence):
    def fail():
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(ResourceError, match=sentence):
        fail()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_full_disk_while_voxels_are_written(tmp_path, monkeypatch, suffix):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write(Volume(np.ones((2, 2, 2), np.int16)), tmp_path / f"a{suffix}")
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="no room"):
        write(Volume(np.zeros((2, 2, 2), np.int16)), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_a_read_only_target_is_kept(tmp_path, monkeypatch):
    target = tmp_path / "a.txt"
    target.write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ResourceError, match="read-only"), replacing(target):
        pass
    assert target.read_text() == "old"


def test_a_folder_is_no_target(tmp_path):
    with pytest.raises(ResourceError, match="is a folder"), replacing(tmp_path):
        pass


def test_permissions_of_the_old_file_are_kept(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(0o640)
    with replacing(target) as temporary:
        temporary.write_text("new")
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
