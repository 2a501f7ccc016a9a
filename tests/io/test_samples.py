"""The sample volumes: they load, their labels lie on their images, and they show what their descriptions promise."""

from __future__ import annotations

import numpy as np
import pytest

from voxelsmith.core.errors import InputError
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import samples

PAIRS = {
    "lung1_label": "lung1_image",
    "brain1_label": "brain1_image",
    "colin27_aal": "colin27_t1",
    "glioma_phantom_label": "glioma_phantom_t1c",
}
MODALITIES = ("t1", "t1c", "t2", "flair")


def phantom_signal(modality: str) -> dict[int, float]:
    """Median signal of each label of the phantom; 0 is the brain outside the tumour."""
    image = samples.load(f"glioma_phantom_{modality}").array
    labels = samples.load("glioma_phantom_label").array
    return {v: float(np.median(image[(labels == v) & (image > 0)])) for v in (0, 1, 2, 4)}


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_every_sample_loads_under_its_name(name: str) -> None:
    volume = samples.load(name)
    assert volume.name == name
    assert isinstance(volume, LabelVolume) is samples.SAMPLES[name].is_labels
    assert volume.array.max() > 0


@pytest.mark.parametrize("label", PAIRS)
def test_labels_lie_on_their_image(label: str) -> None:
    image, labels = samples.load(PAIRS[label]), samples.load(label)
    image.require_same_grid(labels)
    assert isinstance(labels, LabelVolume)
    assert set(labels.values()) == set(labels.names)


def test_the_nodule_is_soft_tissue_in_the_right_lung() -> None:
    ct, nodule = samples.load("lung1_image"), samples.load("lung1_label").array > 0
    assert -100 < np.median(ct.array[nodule]) < 150
    assert ct.affine.axcodes == "LPS"
    centre = ct.affine.apply(np.argwhere(nodule).mean(axis=0))
    assert centre[0] > ct.affine.apply((np.array(ct.grid) - 1) / 2)[0] + 10  # Right of the middle of the chest


def test_left_labels_of_the_atlas_lie_on_the_left() -> None:
    aal = samples.load("colin27_aal")
    assert isinstance(aal, LabelVolume)
    for value in (1, 2):
        side = aal.affine.apply(np.argwhere(aal.mask(value)))[:, 0].mean()
        assert bool(side < 0) is aal.names[value].endswith("_L")


def test_atlas_and_template_share_mni_space() -> None:
    centres = []
    for name in ("colin27_t1", "mni152_t1"):
        brain = samples.load(name)
        centres.append(brain.affine.apply(np.argwhere(brain.array > 0)).mean(axis=0))
    assert np.abs(centres[0] - centres[1]).max() < 6


def test_the_phantom_shares_one_grid() -> None:
    truth = samples.load("glioma_phantom_label")
    for modality in MODALITIES:
        truth.require_same_grid(samples.load(f"glioma_phantom_{modality}"))


def test_the_phantom_shows_each_modality_as_a_radiologist_expects() -> None:
    t1c, t2, flair = (phantom_signal(m) for m in MODALITIES[1:])
    assert t1c[4] > 1.2 * max(t1c[0], t1c[2])  # The ring enhances
    assert t1c[1] < 0.6 * t1c[4]  # Around a dark core
    assert flair[2] > 1.4 * flair[0]  # Oedema shines on FLAIR
    assert t2[1] > 1.4 * t2[0]  # Necrosis is fluid on T2
    assert flair[1] < flair[0]  # And suppressed on FLAIR


def test_an_unknown_name_lists_the_samples() -> None:
    with pytest.raises(InputError, match="lung1_image"):
        samples.path("liver")
