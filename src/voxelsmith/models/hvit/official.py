"""What ties the network to the published code: its configuration, its checkpoints, and its way of sampling.

The published code is mogvision/hvit on GitHub. Its checkpoints depend on the grid twice: by the number of stages, which
follows from the least dimension, and by a buffer, which is left out here because the grid is built for each call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.core.errors import InputError
from voxelsmith.models.hvit.architecture import LEVELS, Architecture

_PREFIX = "hvit."
_UNUSED = ("spatial_trans.", "deformable._decoder._seg_head.")
_FIXED = {"out_fmaps": ["P4", "P3", "P2", "P1"], "scale_level_df": "P1", "upsample_scale_factor": 2, "kernel_size": 3}


def stages(grid: Sequence[int]) -> int:
    """How many stages the published code builds for images of this grid: five from 64 voxels on, four from 32."""
    return min(min(grid).bit_length() - 2, LEVELS + 1)


def architecture(config: Mapping[str, Any], *, light: bool = False) -> Architecture:
    """The network that the published code builds from a configuration.

    Parameters
    ----------
    config
        As in its configuration file or in ``hyper_parameters`` of its checkpoints; rates of dropout do not matter here.
    light
        Whether it is of the light class.

    Raises
    ------
    InputError
        When the configuration asks for maps, a head or kernels other than the published ones.
    """
    for name, value in _FIXED.items():
        if config.get(name, value) != value:
            raise InputError(f"This H-ViT has {name} {value}, the configuration has {config[name]}.")
    return Architecture(
        start_channels=config["start_channels"],
        fpn_channels=config["fpn_channels"],
        num_stages=stages(config["data_size"]),
        patch=config["patch_size"],
        heads=config["num_heads"],
        depth=config["depths"],
        mlp_ratio=config["mlp_ratio"],
        attended=max(config.get("NUM_CROSS_ATT", 0), 0),
        refined=not light,
        query_layout="official",
        sampling="official",
    )


def state(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of a published state dict by our names, ready to be loaded strictly."""
    bare = {name.removeprefix(_PREFIX): value for name, value in checkpoint.items()}
    return {name: value for name, value in bare.items() if not name.startswith(_UNUSED)}


def pull(volume: Tensor, displacement: Tensor) -> Tensor:
    """As :func:`voxelsmith.models.warp.pull` on one grid, the way the published code does it.

    It places indices from voxel centre to voxel centre and samples from face to face, so that the image is stretched
    by up to half a voxel towards each face; beyond it are zeros.
    """
    places = []
    for axis in (2, 1, 0):
        count = volume.shape[2 + axis]
        index = torch.arange(count, device=volume.device, dtype=torch.float32)
        index = index.reshape([count if a == axis else 1 for a in range(3)])
        places.append(2 * ((index + displacement[:, axis].float()) / (count - 1) - 0.5))
    with torch.autocast(volume.device.type, enabled=False):
        return functional.grid_sample(volume.float(), torch.stack(places, dim=-1), mode="bilinear", align_corners=False)
