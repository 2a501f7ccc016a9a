"""Support sets on disk come back as they were, or not at all."""

import json
import os

import numpy as np
import pytest

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, ResourceError
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.io.support import INDEX, read_support, write_support

TURN = np.array([[0.9, -0.1, 0.2, 7.123456789], [0.1, 1.1, 0, -3.3], [-0.2, 0.01, 2.3, 1 / 3], [0, 0, 0, 1]])


@pytest.fixture
def support():
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(size=(5, 6, 7)), Affine(TURN), "scan")
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[1:4, 2:4, 2:6] = 1
    ignored = np.zeros((5, 6, 7), bool)
    ignored[0] = True
    other = Volume(rng.random((4, 4, 4)) > 0.5)
    examples = [
        SupportExample(image, image.labels(labels), 2, (3, 6), provenance="layer"),
        SupportExample(image, image.labels(labels), 1, (2,), frozenset({1, 2}), ignored, enabled=False),
        SupportExample(other, other.labels(np.full((4, 4, 4), 2, np.uint16))),
    ]
    full = SupportSet().describe(1, "Leber", (0.1, 0.2, 0.3))
    for example in examples:
        full = full.add(example)
    return full


@pytest.mark.parametrize("name", ["set", "set.zip"])
def test_everything_comes_back(tmp_path, support, name):
    back = read_support(write_support(support, tmp_path / name))
    assert back.classes == support.classes
    for old, new in zip(support.examples, back.examples, strict=True):
        assert new.content_hash == old.content_hash
        assert (new.axis, new.slices, new.classes) == (old.axis, old.slices, old.classes)
        assert (new.enabled, new.provenance, new.image.name) == (old.enabled, old.provenance, old.image.name)
        assert new.image.affine == old.image.affine
    assert back.examples[0].image is back.examples[1].image
    assert os.listdir(tmp_path) == [name]


def test_a_shared_image_is_written_once(tmp_path, support):
    folder = write_support(support, tmp_path / "set")
    assert len(list(folder.glob("image-*"))) == 2


def test_saving_again_replaces_the_set(tmp_path, support):
    write_support(support, tmp_path / "set")
    write_support(support.remove(support.examples[2].content_hash), tmp_path / "set")
    assert len(read_support(tmp_path / "set").examples) == 2
    assert not (tmp_path / "set" / "labels-3.nii.gz").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path, support):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FormatError, match="something else"):
        write_support(support, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failure_keeps_the_old_set(tmp_path, support, monkeypatch):
    write_support(support, tmp_path / "set")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for name in ("set", "new.zip"):
        with pytest.raises(ResourceError, match="no room"):
            write_support(SupportSet().add(support.examples[0]), tmp_path / name)
    assert len(read_support(tmp_path / "set").examples) == 3
    assert os.listdir(tmp_path) == ["set"]


def test_a_missing_folder_gets_a_sentence(tmp_path, support):
    with pytest.raises(ResourceError, match="does not exist"):
        write_support(support, tmp_path / "a" / "b")


def change(folder, **entries):
    index = json.loads((folder / INDEX).read_text())
    index.update(entries)
    (folder / INDEX).write_text(json.dumps(index))


def test_damage_is_noticed(tmp_path, support):
    folder = write_support(support, tmp_path / "set")
    (folder / "labels-1.nii.gz").write_bytes((folder / "labels-3.nii.gz").read_bytes())
    with pytest.raises(FormatError, match=r"labels-1\.nii\.gz"):
        read_support(folder)
    (folder / "labels-1.nii.gz").unlink()
    with pytest.raises(FormatError, match="no file"):
        read_support(folder)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"kind": "recipe"}, "missing or damaged"),
        ({"version": 2}, "version 2"),
        ({"examples": [{}]}, "lacks something"),
        ({"images": [{"file": "../image-1.nii.gz"}]}, "lie beside"),
    ],
)
def test_a_wrong_index_gets_a_sentence(tmp_path, support, entries, sentence):
    folder = write_support(support, tmp_path / "set")
    change(folder, **entries)
    with pytest.raises(FormatError, match=sentence):
        read_support(folder)


def test_what_is_no_set_gets_a_sentence(tmp_path):
    with pytest.raises(FormatError, match="no support set"):
        read_support(tmp_path / "absent")
    with pytest.raises(FormatError, match="missing or damaged"):
        read_support(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK nonsense")
    with pytest.raises(FormatError, match="no zip file"):
        read_support(tmp_path / "a.zip")
