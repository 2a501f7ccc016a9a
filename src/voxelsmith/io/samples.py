"""The volumes that ship with the package.

Owns their names, what they show, and where they lie: inside the installed package, or at the top of a checkout. Sources
and licences are in the README.md beside the files; ``tools/make_sample_data.py`` rebuilds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io.registry import read, read_labels


@dataclass(frozen=True)
class Sample:
    """One volume that ships.

    Parameters
    ----------
    name
        How programs ask for it; also the file name without its ending.
    description
        What it shows, for the user.
    is_labels
        Whether it holds labels rather than an image.
    """

    name: str
    description: str
    is_labels: bool = False


SAMPLES: Mapping[str, Sample] = MappingProxyType(
    {
        sample.name: sample
        for sample in (
            Sample("lung1_image", "Chest CT with a nodule in the right lung"),
            Sample("lung1_label", "Nodule of the chest CT, drawn by an expert", is_labels=True),
            Sample("brain1_image", "Brain MR, T1 with contrast, with a tumour"),
            Sample("brain1_label", "Tumour of the brain MR, drawn by an expert", is_labels=True),
            Sample("colin27_t1", "Colin27: brain MR T1 of one person, without skull"),
            Sample("colin27_aal", "AAL parcellation of Colin27, 116 regions", is_labels=True),
            Sample("mni152_t1", "MNI152: average brain MR T1, without skull"),
            Sample("glioma_phantom_t1", "Numerical glioma, T1"),
            Sample("glioma_phantom_t1c", "Numerical glioma, T1 with contrast"),
            Sample("glioma_phantom_t2", "Numerical glioma, T2"),
            Sample("glioma_phantom_flair", "Numerical glioma, FLAIR"),
            Sample("glioma_phantom_label", "Numerical glioma, truth in the BraTS convention", is_labels=True),
        )
    }
)


def _find(filename: str) -> Path:
    package = Path(str(resources.files("voxelsmith")))
    for folder in (package / "sample_data", package.parents[1] / "sample_data"):
        if (folder / filename).is_file():
            return folder / filename
    raise FormatError(
        f"The sample file {filename} belongs to the package but is not in {package / 'sample_data'}; reinstall "
        "napari-voxelsmith."
    )


def path(name: str) -> Path:
    """Where the file of a sample lies.

    Raises
    ------
    InputError
        If there is no sample of that name.
    FormatError
        If the installation lacks the file.
    """
    if name not in SAMPLES:
        raise InputError(f"There is no sample {name!r}; choose one of {', '.join(SAMPLES)}.")
    return _find(f"{name}.nii.gz")


def load(name: str) -> Volume | LabelVolume:
    """Read a sample; labels come with the names of their values. Raises as :func:`path` does."""
    file = path(name)
    if not SAMPLES[name].is_labels:
        return replace(read(file), name=name)
    names = json.loads(_find(f"{name}_names.json").read_text(encoding="utf-8"))
    return replace(read_labels(file), name=name, names={int(value): label for value, label in names.items()})
