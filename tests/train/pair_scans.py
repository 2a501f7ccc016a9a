"""Heads and scans to be paired: structures that every subject has, each elsewhere, on grids of their own."""

import nibabel as nib
import numpy as np
from scipy import ndimage
from volumes import table, write_split

from voxelsmith.models.hvit import Architecture
from voxelsmith.train import hvit

TINY = Architecture(start_channels=4, fpn_channels=8, num_stages=3, heads=2, refined=False, velocity_steps=3)
GRID = (40, 36, 32)
# Number, middle and radius of each structure, in millimetres of a head that is not moved.
_PARTS = ((530, (0, 0, 0), 17), (2, (-6, 0, 0), 9), (41, (6, 0, 1), 8), (10, (-5, 4, 2), 4), (49, (5, 4, 3), 4))


def head(seed=0, shift=(0, 0, 0), axes=(1, 1, 1), values=None):
    """A label map of voxels of 1 mm and its affine; the head is shifted, ``axes`` turns those of the array round."""
    wobble = np.random.default_rng(seed).uniform(-0.5, 0.5, (len(_PARTS), 3))
    affine = np.diag([*axes, 1.0]).astype(float)
    affine[:3, 3] = np.array(shift) - affine[:3, :3] @ ((np.array(GRID) - 1) / 2)
    places = np.einsum("ab,bijk->aijk", affine[:3, :3], np.indices(GRID)) + affine[:3, 3].reshape(3, 1, 1, 1)
    labels = np.zeros(GRID, np.int16)
    for n, ((value, middle, radius), off) in enumerate(zip(_PARTS, wobble, strict=True)):
        away = places - (np.array(middle) + off + shift).reshape(3, 1, 1, 1)
        labels[(away**2).sum(0) < radius**2] = value if values is None else values[n]
    return labels, affine


def scan(seed=0, shift=(0, 0, 0)):
    """An image of a head with noise, and its labels without the skin."""
    labels, affine = head(seed, shift)
    brightness = {0: 0, 530: 60, 2: 100, 41: 140, 10: 180, 49: 30}
    image = np.vectorize(brightness.get)(labels).astype(np.float32)
    image = ndimage.gaussian_filter(image, 0.7) + np.random.default_rng(seed).normal(0, 2, GRID)
    return image.astype(np.float32), np.where(labels == 530, 0, labels).astype(np.int16), affine


def save(path, array, affine):
    nib.save(nib.Nifti1Image(array, affine), path)


def save_scans(folder, shifts):
    """Images and labels ``s0.nii`` and ``s0_labels.nii``, ..."""
    for n, shift in enumerate(shifts):
        image, labels, affine = scan(n, shift)
        save(folder / f"s{n}.nii", image, affine)
        save(folder / f"s{n}_labels.nii", labels, affine)


def split(folder):
    """Heads and scans of four patients each, of which the last two are to validate on."""
    save_scans(folder, [(0, 0, 0), (2, -1, 1), (0, 0, 0), (-1, 2, 0)])
    tables = []
    for n in range(4):
        save(folder / f"h{n}.nii", *head(n, (3 * n, 0, -n)))
        use = "train" if n < 2 else "validate"
        tables.append(table(patient=f"h{n}", group="Heads", use=use, labels=f"h{n}.nii", anatomy="freesurfer"))
        tables.append(table(patient=f"s{n}", group="Scans", use=use, image=f"s{n}.nii", labels=f"s{n}_labels.nii"))
    return write_split(folder, *tables)


def settings(**changes):
    """Short and small."""
    quick = {"steps": 6, "warm_up": 0, "learning_rate": 3e-3, "average": 0.5, "device": "cpu", "architecture": TINY}
    return hvit.settings(**{**quick, "validate_every": 3, "checkpoint_every": 2, "log_every": 1, **changes})
