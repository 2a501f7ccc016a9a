"""Which file is which sequence: names of BraTS from 2013 to 2024, and what clinics write."""

from pathlib import Path

import numpy as np
import pytest

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.volume import Volume
from voxelsmith.segment.tumour.names import match_files, match_folder, modality_of, split_channels


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("VSD.Brain.XX.O.MR_T1.54193.mha", "t1"),
        ("VSD.Brain.XX.O.MR_T1c.54194.mha", "t1c"),
        ("VSD.Brain.XX.O.MR_T2.54195.mha", "t2"),
        ("VSD.Brain.XX.O.MR_Flair.54192.mha", "flair"),
        ("VSD.Brain_3more.XX.O.OT.54197.mha", None),
        ("Brats18_2013_0_1_t1ce.nii.gz", "t1c"),
        ("Brats18_2013_0_1_t1.nii.gz", "t1"),
        ("BraTS20_Training_001_flair.nii", "flair"),
        ("BraTS2021_00000_t2.nii.gz", "t2"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "t1"),
        ("BraTS-GLI-00000-000-t1c.nii.gz", "t1c"),
        ("BraTS-GLI-02062-100-t2w.nii.gz", "t2"),
        ("BraTS-GLI-02062-100-t2f.nii.gz", "flair"),
        ("BraTS-GLI-02062-100-seg.nii.gz", None),
        ("Brats18_2013_0_1_seg.nii.gz", None),
        ("t1c_brain_mask.nii.gz", None),
        ("AX T1 POST GD", "t1c"),
        ("Ax T1 pre contrast", "t1"),
        ("t1_mprage_sag_KM.nii.gz", "t1c"),
        ("T1_MPRAGE_native", "t1"),
        ("5_MPRAGE_sag.nii", "t1"),
        ("T1W+C.nii.gz", "t1c"),
        ("t1wce.nii.gz", "t1c"),
        ("axT1.nii", "t1"),
        ("T1 FLAIR ax.nii", "t1"),
        ("AX T2 FLAIR FS.nii", "flair"),
        ("T2_TSE_tra.nii", "t2"),
        ("t2_tirm_dark-fluid_tra", "flair"),
        ("3DFLAIR.nii.gz", "flair"),
        ("T2star_GRE.nii", None),
        ("ax T2* swi.nii", None),
        ("DWI_b1000.nii", None),
        ("localizer.nii", None),
        ("patient12.nii.gz", None),
    ],
)
def test_names_tell_the_sequence(name, modality):
    assert modality_of(name) == modality


def test_a_folder_of_2024_is_sorted(tmp_path):
    for ending in ("t1n", "t1c", "t2w", "t2f", "seg"):
        (tmp_path / f"BraTS-GLI-1-100-{ending}.nii.gz").touch()
    (tmp_path / "BrainMask.nii.gz").touch()
    (tmp_path / "notes.txt").touch()
    matched = match_folder(tmp_path)
    assert {m: p.name[16:19] for m, p in matched.images.items()} == {
        "t1": "t1n",
        "t1c": "t1c",
        "t2": "t2w",
        "flair": "t2f",
    }
    assert matched.labels.name.endswith("seg.nii.gz")
    assert matched.mask.name == "BrainMask.nii.gz"
    assert (matched.left, matched.notes) == ((), ())


def test_folders_of_series_are_sorted_by_their_names(tmp_path):
    for name in ("301 T1 ax", "302 T1 ax KM", "303 FLAIR", "304 DWI"):
        (tmp_path / name).mkdir()
    matched = match_folder(tmp_path)
    assert {m: p.name for m, p in matched.images.items()} == {
        "t1": "301 T1 ax",
        "t1c": "302 T1 ax KM",
        "flair": "303 FLAIR",
    }
    assert [p.name for p in matched.left] == ["304 DWI"]


def test_of_two_the_shorter_name_is_taken_and_told():
    matched = match_files([Path("flair_repeated.nii"), Path("flair.nii")])
    assert matched.images == {"flair": Path("flair.nii")}
    assert matched.left == (Path("flair_repeated.nii"),)
    assert "flair_repeated.nii looks like FLAIR as well, but flair.nii was taken" in matched.notes[0]


def test_a_folder_without_a_known_name_is_told(tmp_path):
    (tmp_path / "scan1.nii.gz").touch()
    with pytest.raises(InputError, match=r"t1, t1c, t2 or flair .* has scan1.nii.gz; rename"):
        match_folder(tmp_path)
    with pytest.raises(FormatError, match="no folder"):
        match_folder(tmp_path / "missing")


def test_a_file_of_the_decathlon_is_split():
    array = np.zeros((3, 3, 3, 4)) + np.arange(4)
    found = split_channels(Volume(array, extra_axis="time"))
    assert {m: v.array.max() for m, v in found.items()} == {"t1": 1, "t1c": 2, "t2": 3, "flair": 0}
    with pytest.raises(InputError, match="four channels"):
        split_channels(Volume(array[..., :3], extra_axis="time"))
