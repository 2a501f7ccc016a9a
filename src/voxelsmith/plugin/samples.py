"""Samples: what the File > Open Sample menu offers.

Owns which of the shipped volumes open together.
"""

from __future__ import annotations

from dataclasses import replace

from voxelsmith.plugin.layers import LayerData, layer_data


def chest_ct() -> list[LayerData]:
    """Chest CT with the nodule that an expert drew."""
    return _open(lung1_image="chest CT", lung1_label="nodule")


def brain_mr() -> list[LayerData]:
    """Brain MR, T1 with contrast, with the tumour that an expert drew."""
    return _open(brain1_image="brain MR", brain1_label="tumour")


def colin27() -> list[LayerData]:
    """One person's brain with its parcellation."""
    return _open(colin27_t1="Colin27", colin27_aal="AAL regions")


def mni152() -> list[LayerData]:
    """The average brain."""
    return _open(mni152_t1="MNI152")


def glioma_phantom() -> list[LayerData]:
    """Four modalities of a numerical glioma and its truth."""
    return _open(
        glioma_phantom_t1="glioma T1",
        glioma_phantom_t1c="glioma T1 with contrast",
        glioma_phantom_t2="glioma T2",
        glioma_phantom_flair="glioma FLAIR",
        glioma_phantom_label="glioma truth",
    )


def _open(**titles: str) -> list[LayerData]:
    from voxelsmith.io.samples import load

    return [layer_data(replace(load(name), name=title)) for name, title in titles.items()]
