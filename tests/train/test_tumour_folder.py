"""Folders of patients: names and labels of the BraTS years and of the Decathlon, found, told and read alike."""

import nibabel as nib
import numpy as np
import pytest

from voxelsmith.core.errors import GeometryError, InputError
from voxelsmith.core.regions import convention
from voxelsmith.models.crossmodality import MODALITIES, TWO
from voxelsmith.train.tumour_folder import tumour_folder

SHAPE = (12, 14, 10)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
YEARS = {
    "brats2013": "VSD.Brain.XX.O.{m}.54512/VSD.Brain.XX.O.{m}.54512.nii.gz",
    "brats2018": "{p}_{m}.nii.gz",
    "brats2023": "{p}-{m}.nii.gz",
}
NAMES = {
    "brats2013": {"t1": "MR_T1", "t1c": "MR_T1c", "t2": "MR_T2", "flair": "MR_Flair", "seg": "OT"},
    "brats2018": {"t1": "t1", "t1c": "t1ce", "t2": "t2", "flair": "flair", "seg": "seg"},
    "brats2023": {"t1": "t1n", "t1c": "t1c", "t2": "t2w", "flair": "t2f", "seg": "seg"},
}


def depth_map():
    depth = np.zeros(SHAPE, np.uint8)
    depth[3:9, 3:10, 2:8], depth[4:8, 4:8, 3:7], depth[5:7, 5:7, 4:6] = 1, 2, 3
    return depth


def sequences(seed=0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(50, 200, (4, *SHAPE)).astype(np.float32)
    images[:, :2] = images[:, :, :1] = 0
    return dict(zip(MODALITIES, images, strict=True))


def save(array, path, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array), affine), path)


def brats(folder, year, count=6, left_out=()):
    for n in range(count):
        name = f"Patient_{n:03}"
        words = NAMES[year]
        volumes = {**sequences(n), "seg": convention(year).labels(depth_map())}
        for kind, array in volumes.items():
            if kind not in left_out:
                save(array, folder / name / YEARS[year].format(p=name, m=words[kind]))
    return folder


@pytest.mark.parametrize("year", sorted(NAMES))
def test_patients_of_a_year_are_read_and_their_convention_is_told(tmp_path, year):
    found = tumour_folder(brats(tmp_path, year), MODALITIES)
    assert [len(found.train), len(found.judges)] == [5, 1]
    assert found.judges[0].name == "Patient_004"
    assert {found.labelled_as.depths[n] for n in convention(year).codes} == {1, 2, 3}
    assert any(found.labelled_as.title in note for note in found.notes)
    case = found.train[0].read()
    assert case.x.shape == (4, 10, 13, 10)
    assert case.available.all()
    assert np.array_equal(case.depth, depth_map()[2:, 1:])
    np.testing.assert_allclose([part.mean() for part in case.x], 0, atol=1e-5)
    np.testing.assert_allclose([part.std() for part in case.x], 1, atol=1e-4)


def test_patients_may_lie_one_folder_deeper(tmp_path):
    brats(tmp_path / "HGG", "brats2018", 2)
    (tmp_path / "LGG").mkdir()
    found = tumour_folder(tmp_path, MODALITIES)
    assert [case.name for case in found.train] == ["Patient_000", "Patient_001"]


def test_the_decathlon_has_its_own_order_and_labels(tmp_path):
    for n in range(2):
        four = sequences(n)
        stacked = np.stack([four[name] for name in ("flair", "t1", "t1c", "t2")], axis=-1)
        save(stacked, tmp_path / "imagesTr" / f"BRATS_{n:03}.nii.gz")
        save(convention("msd").labels(depth_map()), tmp_path / "labelsTr" / f"BRATS_{n:03}.nii.gz")
    found = tumour_folder(tmp_path, MODALITIES, labelled_as="msd", validate=["BRATS_001"])
    assert [case.name for case in found.judges] == ["BRATS_001"]
    case, four = found.train[0].read(), sequences(0)
    for n, name in enumerate(MODALITIES):
        expected = four[name][2:, 1:].ravel()
        assert np.corrcoef(case.x[n].ravel(), expected)[0, 1] > 0.9999
    assert np.array_equal(case.depth, depth_map()[2:, 1:])


def test_missing_sequences_are_zero_and_said_to_be_missing(tmp_path):
    found = tumour_folder(brats(tmp_path, "brats2018", 2, left_out=("t1", "t2")), MODALITIES)
    case = found.train[0].read()
    assert case.available.tolist() == [False, True, False, True]
    assert not case.x[[0, 2]].any()
    two = tumour_folder(tmp_path, TWO).train[0].read()
    assert np.array_equal(two.x, case.x[[1, 3]])


def test_a_brain_mask_and_another_orientation_and_spacing_are_honoured(tmp_path):
    affine = np.array([[0, 0, 2.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    for kind, array in {**sequences(), "seg": depth_map()}.items():
        save(array, tmp_path / "one" / f"{kind}.nii.gz", affine)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:10, 2:12, 1:9] = 1
    save(mask, tmp_path / "one" / "brain_mask.nii.gz", affine)
    case = tumour_folder(tmp_path, MODALITIES, labelled_as="brats2023").train[0].read()
    # k runs to the right in steps of 2 mm, j to the front, i upwards.
    assert case.x.shape == (4, 16, 10, 8)
    assert abs(int((case.x[0] != 0).sum()) - 2 * int(mask.sum())) < 20


def test_doubtful_labels_are_said_to_be_doubtful_and_can_be_named(tmp_path):
    brats(tmp_path, "brats2023")
    found = tumour_folder(tmp_path, MODALITIES)
    assert any("mean different things" in note for note in found.notes)
    assert tumour_folder(tmp_path, MODALITIES, labelled_as="msd").labelled_as.name == "msd"


def test_patients_can_be_left_out_and_strange_names_are_refused(tmp_path):
    brats(tmp_path, "brats2018", 3)
    found = tumour_folder(tmp_path, MODALITIES, validate=["Patient_001"], left_out=["Patient_002"])
    assert [case.name for case in (*found.train, *found.judges)] == ["Patient_000", "Patient_001"]
    for wrong in ({"validate": ["nobody"]}, {"left_out": ["nobody"]}):
        with pytest.raises(InputError, match="no patient nobody"):
            tumour_folder(tmp_path, MODALITIES, **wrong)
    with pytest.raises(InputError, match="none is left to learn from"):
        tumour_folder(tmp_path, MODALITIES, validate=[f"Patient_{n:03}" for n in range(3)])


def test_folders_without_patients_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="has no such patient"):
            tumour_folder(folder, MODALITIES)
    brats(tmp_path, "brats2018", 1, left_out=("seg",))
    with pytest.raises(InputError, match="has no such patient"):
        tumour_folder(tmp_path, MODALITIES)


def test_bad_patients_say_what_is_wrong_with_them(tmp_path):
    brats(tmp_path, "brats2018", 1)
    folder = tmp_path / "Patient_000"
    save(np.full(SHAPE, 9, np.uint8), folder / "Patient_000_seg.nii.gz")
    with pytest.raises(InputError, match="9"):
        tumour_folder(tmp_path, MODALITIES)
    with pytest.raises(InputError, match="9"):
        tumour_folder(tmp_path, MODALITIES, labelled_as="brats2018").train[0].read()
    save(depth_map()[:-1], folder / "Patient_000_seg.nii.gz")
    with pytest.raises(GeometryError):
        tumour_folder(tmp_path, MODALITIES, labelled_as="brats2023").train[0].read()
