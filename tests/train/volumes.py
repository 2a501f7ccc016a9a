"""Small volumes on disk and a split that lists them."""

import h5py
import nibabel as nib
import numpy as np

SHAPE = (24, 22, 20)


def labelled(seed, values=(1, 2), shape=SHAPE):
    """A noisy image of two bright blocks, and their labels."""
    labels = np.zeros(shape, np.int16)
    labels[4:13, 4:13, 4:13] = values[0]
    labels[15:22, 12:20, 8:16] = values[1]
    image = np.random.default_rng(seed).normal(100, 8, shape) + 60 * (labels > 0)
    return image.astype(np.float32), labels


def save(path, array, spacing=(1.0, 1.0, 1.5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1])), path)


def save_hdf5(path, spacing_um=(1.0, 0.5, 0.5), **datasets):
    with h5py.File(path, "w") as handle:
        for name, array in datasets.items():
            handle[name] = array
            if spacing_um:
                handle[name].attrs["element_size_um"] = spacing_um


def table(**keys):
    """A [[volume]] table as text; use, group and patient are filled in, None leaves a key out."""
    keys = {"use": "train", "group": "Blocks", "patient": "p1"} | keys
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in keys.items() if value is not None]
    return "\n".join(["[[volume]]", *lines, ""])


def write_split(folder, *tables):
    path = folder / "split.toml"
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def two_patients(folder):
    """A split of one patient to train on, one to validate on, and a label map that images are made from."""
    for n, name in enumerate(("a", "b")):
        image, labels = labelled(n)
        save(folder / f"{name}.nii.gz", image)
        save(folder / f"{name}_labels.nii.gz", labels)
    for name in ("head", "other"):
        save(folder / f"{name}.nii.gz", labelled(0, (2, 41), (40, 36, 32))[1], (2, 2, 2))
    return write_split(
        folder,
        table(patient="a", image="a.nii.gz", labels="a_labels.nii.gz"),
        table(patient="b", image="b.nii.gz", labels="b_labels.nii.gz", use="validate"),
        table(patient="c", group="Heads", labels="head.nii.gz", anatomy="freesurfer"),
        table(patient="d", group="Heads", labels="other.nii.gz", anatomy="freesurfer", use="validate"),
    )
