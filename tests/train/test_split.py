"""The split: patients stay apart, wrong lists give a sentence, and its files are read with their geometry."""

import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from volumes import SHAPE, labelled, save, save_hdf5, table, two_patients, write_split

from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.train.split import entries, learning_entries

NOT_TRAINED_ON = {"glioma_2mod", "brain_pair", "lung_mr", "spinal_cord", "mr_abdomen"}


def only(folder, **keys):
    """The entry of a split of one volume."""
    (entry,) = entries(folder, write_split(folder, table(**keys)))
    return entry


def refusal(folder, *tables, error=InputError):
    with pytest.raises(error) as caught:
        entries(folder, write_split(folder, *tables))
    return str(caught.value)


def test_the_shipped_split_keeps_patients_apart_and_names_no_image_twice():
    uses, patients, pictures = defaultdict(set), defaultdict(set), []
    for entry in entries(Path("data")):
        uses[entry.patient].add(entry.use)
        pictures.append(entry.image or entry.labels)
        # The modalities of one patient may share labels.
        for path in {entry.image, entry.labels} - {None}:
            patients[path].add(entry.patient)
    assert {len(found) for found in uses.values()} == {1}
    assert {use for found in uses.values() for use in found} == {"train", "validate", "test"}
    assert {len(found) for found in patients.values()} == {1}
    assert len(uses) > 100
    assert len(set(pictures)) == len(pictures)


def test_data_whose_licence_forbids_it_only_judges():
    judging = set()
    for entry in entries(Path("data")):
        folders = {path.relative_to("data").parts[0] for path in (entry.image, entry.labels) if path is not None}
        if folders & NOT_TRAINED_ON:
            assert entry.use == "test", entry.name
            judging |= folders
    assert {"lung_mr", "spinal_cord", "mr_abdomen"} <= judging


def test_entries_name_files_in_the_folder(tmp_path):
    first, _, head, _ = entries(tmp_path, two_patients(tmp_path))
    assert (first.use, first.group, first.patient) == ("train", "Blocks", "a")
    assert (first.image, first.labels) == (tmp_path / "a.nii.gz", tmp_path / "a_labels.nii.gz")
    assert (first.anatomy, first.spacing_mm, first.name) == ("", None, "a a")
    assert (head.image, head.anatomy, head.name) == (None, "freesurfer", "c head")


def test_the_split_in_the_documentation_is_one(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "training.md"
    (text,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    train, validate = entries(tmp_path, write_split(tmp_path, text))
    assert (train.use, validate.use) == ("train", "validate")
    assert train.labels == tmp_path / "0001" / "liver.nii.gz"


def test_labels_alone_are_an_anatomy(tmp_path):
    assert only(tmp_path, labels="map.nii.gz").anatomy == "plain"


def test_a_patient_has_one_use(tmp_path):
    tables = table(image="a.nii"), table(image="b.nii", use="test")
    assert "Patient p1 has two uses in the split, train and test" in refusal(tmp_path, *tables)


@pytest.mark.parametrize(
    "keys",
    [
        {"use": "training"},
        {"use": None},
        {"group": None},
        {"patient": None},
        {"patient": 7},
        {"patient": ""},
        {"image": None},
        {"image": ["a.nii"]},
        {"weight": 2},
        {"anatomy": "plain"},
        {"anatomy": "simnibs", "labels": "b.nii"},
        {"spacing_mm": [1, 1]},
        {"spacing_mm": 2.0},
        {"spacing_mm": [1, 1, 0]},
        {"spacing_mm": [1, 1, "x"]},
        {"names": "liver"},
    ],
    ids=str,
)
def test_a_table_that_is_no_volume_is_told(tmp_path, keys):
    told = refusal(tmp_path, table(**{"image": "a.nii", **keys}))
    assert told.startswith("A volume of a split has use (train, validate, test), group, patient, image or labels")
    assert ", got {" in told


def test_labels_may_have_names(tmp_path):
    listed = table(image="a.nii", labels="b.nii") + 'names = { 1 = "liver", 12 = "left kidney" }\n'
    (entry,) = entries(tmp_path, write_split(tmp_path, listed))
    assert entry.names == ((1, "liver"), (12, "left kidney"))
    assert {entry: 1}[entry] == 1
    assert only(tmp_path, image="a.nii").names == ()


@pytest.mark.parametrize("names", ['{ 0 = "air" }', '{ liver = "1" }', "{ 1 = 2 }", '{ 1 = " " }', '{ -1 = "x" }'])
def test_names_that_are_none_are_told(tmp_path, names):
    told = refusal(tmp_path, table(image="a.nii", labels="b.nii") + f"names = {names}\n")
    assert "names (a word for each label above 0), got {" in told


def test_a_file_that_is_no_split_is_told(tmp_path):
    assert "is no TOML file" in refusal(tmp_path, "volume = [", error=FormatError)
    assert "in double brackets" in refusal(tmp_path, "[volume]\nuse = 'train'")
    assert "got 3" in refusal(tmp_path, "volume = [3]")
    with pytest.raises(FormatError, match=r"none\.toml cannot be read \(No such file or directory\)"):
        entries(tmp_path, tmp_path / "none.toml")
    (tmp_path / "image.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match="is no TOML file"):
        entries(tmp_path, tmp_path / "image.toml")


def test_learning_takes_training_and_validation_volumes(tmp_path):
    train, validate = learning_entries(tmp_path, two_patients(tmp_path))
    assert [e.patient for e in train] == ["a", "c"]
    assert [e.patient for e in validate] == ["b", "d"]


def test_missing_files_are_named_before_a_training_begins(tmp_path):
    split = two_patients(tmp_path)
    (tmp_path / "a_labels.nii.gz").unlink()
    (tmp_path / "other.nii.gz").unlink()
    with pytest.raises(FormatError, match=r"2 files of the split are not there, the first is .*a_labels\.nii\.gz"):
        learning_entries(tmp_path, split)
    with pytest.raises(FormatError, match=r"\d+ files of the split are not there.*lists your own volumes"):
        learning_entries(tmp_path)


def test_files_that_only_judge_may_be_missing(tmp_path):
    save_hdf5(tmp_path / "stack.h5", raw=np.zeros(SHAPE))
    split = write_split(
        tmp_path, table(image="stack.h5:raw"), table(patient="p2", use="test", image="elsewhere.nii.gz")
    )
    assert len(learning_entries(tmp_path, split)[0]) == 1


def test_a_split_without_anything_to_train_on_is_told(tmp_path):
    with pytest.raises(InputError, match='no volume to train on; give some of its volumes use = "train"'):
        learning_entries(tmp_path, write_split(tmp_path, table(use="validate", image="a.nii")))
    with pytest.raises(InputError, match="no volume to train on"):
        learning_entries(tmp_path, write_split(tmp_path, ""))


def test_nifti_files_are_read_with_their_voxel_size(tmp_path):
    image, labels = labelled(3)
    save(tmp_path / "a.nii.gz", image)
    save(tmp_path / "b.nii.gz", labels)
    entry = only(tmp_path, image="a.nii.gz", labels="b.nii.gz")
    np.testing.assert_array_equal(entry.read_image().array, image)
    np.testing.assert_array_equal(entry.read_labels().array, labels)
    assert entry.read_image().spacing == pytest.approx([1, 1, 1.5])


def test_a_voxel_size_in_the_split_outweighs_that_of_the_files(tmp_path):
    image, labels = labelled(3)
    save(tmp_path / "a.nii.gz", image, (1, 1, 1))
    save(tmp_path / "b.nii.gz", labels, (2, 2, 2))
    entry = only(tmp_path, image="a.nii.gz", labels="b.nii.gz", spacing_mm=[0.5, 1, 3])
    assert entry.read_image().spacing == pytest.approx([0.5, 1, 3])
    entry.read_image().require_same_grid(entry.read_labels())


def test_of_several_frames_the_first_is_read(tmp_path):
    image, labels = labelled(3)
    save(tmp_path / "a.nii.gz", np.stack([image, -image], axis=3))
    save(tmp_path / "b.nii.gz", np.stack([labels, 2 * labels], axis=3))
    entry = only(tmp_path, image="a.nii.gz", labels="b.nii.gz")
    np.testing.assert_array_equal(entry.read_image().array, image)
    np.testing.assert_array_equal(entry.read_labels().array, labels)


def test_labels_stored_as_floats_are_taken_if_they_are_whole(tmp_path):
    _, labels = labelled(3)
    save(tmp_path / "a.nii.gz", labels.astype(np.float32))
    entry = only(tmp_path, labels="a.nii.gz")
    np.testing.assert_array_equal(entry.read_labels().array, labels)
    assert entry.read_map().labels.dtype == np.uint8
    save(tmp_path / "a.nii.gz", labels + np.float32(0.3))
    with pytest.raises(InputError, match="Labels are whole numbers"):
        entry.read_labels()


def test_labels_below_zero_are_told(tmp_path):
    save(tmp_path / "a.nii.gz", labelled(3, (-1, 2))[1])
    with pytest.raises(InputError, match="0 for background or above, but p1 a has -1"):
        only(tmp_path, labels="a.nii.gz").read_labels()


def test_a_label_map_keeps_its_numbers_and_its_voxel_size(tmp_path):
    _, labels = labelled(3, (2, 1041))
    save(tmp_path / "a.nii.gz", labels)
    found = only(tmp_path, labels="a.nii.gz").read_map()
    np.testing.assert_array_equal(found.labels, labels)
    assert found.spacing == pytest.approx([1, 1, 1.5])
    save(tmp_path / "b.nii.gz", labelled(3, (2, 1))[1].astype(np.int32) * 40_000)
    with pytest.raises(InputError, match="labels up to 32767, but p1 b has 80000"):
        only(tmp_path, labels="b.nii.gz").read_map()


def test_an_entry_gives_only_what_it_has(tmp_path):
    image, labels = only(tmp_path, image="a.nii.gz"), only(tmp_path, labels="a.nii.gz")
    assert image.read_labels() is None
    with pytest.raises(InputError, match="has no labels to make images from"):
        image.read_map()
    with pytest.raises(InputError, match="has labels only"):
        labels.read_image()


@pytest.mark.parametrize("dataset", ["raw", "volumes/raw"])
def test_datasets_of_hdf5_files_are_read_with_their_voxel_size(tmp_path, dataset):
    image, labels = labelled(3)
    save_hdf5(tmp_path / "a.h5", **{dataset: image, "label": labels.astype(np.uint16)})
    entry = only(tmp_path, image=f"a.h5:{dataset}", labels="a.h5:label")
    assert entry.missing() == []
    np.testing.assert_array_equal(entry.read_image().array, image)
    np.testing.assert_array_equal(entry.read_labels().array, labels)
    assert entry.read_image().spacing == pytest.approx([1e-3, 5e-4, 5e-4])


def test_an_hdf5_file_that_lacks_something_is_told(tmp_path, monkeypatch):
    image, _ = labelled(3)
    save_hdf5(tmp_path / "a.h5", None, raw=image)
    with pytest.raises(FormatError, match=r"a\.h5 should hold a dataset label"):
        only(tmp_path, image="a.h5:label").read_image()
    with pytest.raises(FormatError, match=r"element_size_um.*give spacing_mm"):
        only(tmp_path, image="a.h5:raw").read_image()
    assert only(tmp_path, image="a.h5:raw", spacing_mm=[3, 2, 1]).read_image().spacing == pytest.approx([3, 2, 1])
    with pytest.raises(InputError, match="Labels are integers, got float32"):
        only(tmp_path, labels="a.h5:raw", spacing_mm=[3, 2, 1]).read_labels()
    (tmp_path / "a.h5").write_bytes(b"no such thing")
    with pytest.raises(FormatError, match="cannot be read as HDF5"):
        only(tmp_path, image="a.h5:raw").read_image()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModelUnavailableError, match="pip install h5py"):
        only(tmp_path, image="a.h5:raw").read_image()
