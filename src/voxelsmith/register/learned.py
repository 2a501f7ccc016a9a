"""A learned start: a trained network looks at both images once, and instance optimisation finishes what it began.

Owns how H-ViT sees a problem: what is not empty, on a grid of equal voxels that is small enough, its axes in the order
and direction of right, anterior, superior; and how its answer comes back. It looks at images of any size: they are
padded, never stretched. Owns the file of its weights, too, which says what network they are of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.models.hvit import Architecture, HViT
from voxelsmith.register.gaussian import smooth
from voxelsmith.register.problem import Float, Problem
from voxelsmith.register.pyramid import carried, default_shrinks, level_grid, volume
from voxelsmith.weights import containers, save

if TYPE_CHECKING:
    from voxelsmith.register.deformable import DeformableSettings

WEIGHTS = "weights.safetensors"
"""The file in a run folder that a training leaves for others to use."""

_ARCHITECTURE = "architecture"
_MOST_VOXELS = 65_000
# Empty space kept around what is not empty, in voxels of the problem.
_MARGIN = 4
# The network predicts a vector for each block of so many voxels a side.
_BLOCK = 2


def save_network(architecture: Architecture, state: Mapping[str, Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write weights as a file that :func:`load_network` reads; ``about`` is further text that travels in it."""
    save(state, path, {**about, _ARCHITECTURE: json.dumps(asdict(architecture))})


def load_network(source: Path | str) -> HViT:
    """The network of a file, or of the run folder of a training.

    Raises
    ------
    ModelUnavailableError
        If there is no such file, or it cannot be read.
    FormatError
        If it holds no weights of H-ViT, or damaged ones.
    """
    path = Path(source)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ModelUnavailableError(
            f"{file} should be a file with weights of H-ViT, but there is none; name one, or the run folder of a "
            "training that has ended."
        )
    architecture = _architecture(file)
    with torch.device("meta"):
        network = HViT(architecture)
    network.load_state_dict(containers.load(file, network), assign=True)
    return network.eval()


def _architecture(file: Path) -> Architecture:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
        return Architecture(**json.loads(about[_ARCHITECTURE]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, InputError) as error:
        raise FormatError(
            f"{file} should hold weights of H-ViT as a training writes them, but does not say of which network they "
            "are; choose the file or the folder that voxelsmith train hvit wrote."
        ) from error


def working_spacing(extent: npt.ArrayLike, spacing: npt.ArrayLike) -> float:
    """Voxel size in millimetres at which the network looks at a box.

    Parameters
    ----------
    extent
        Size of the box along its axes, millimetres.
    spacing
        Voxel size that the images have; the finest axis is not refined.
    """
    return max(float(np.min(spacing)), float((np.prod(np.asarray(extent)) / _MOST_VOXELS) ** (1 / 3)))


@dataclass(frozen=True, eq=False)
class View:
    """What the network sees of a problem.

    Parameters
    ----------
    box
        The part of the problem's grid.
    grid
        Number of voxels along i, j and k into which that part is divided.
    axes
        For i, j and k: the place among right, anterior and superior that it takes.
    turned
        Which of i, j and k are turned round.
    spacing
        Size of these voxels in millimetres, about the same along all axes.
    """

    box: tuple[slice, slice, slice]
    grid: tuple[int, int, int]
    axes: tuple[int, int, int]
    turned: tuple[int, ...]
    spacing: float

    @classmethod
    def of(cls, problem: Problem, affine: Affine) -> View:
        """The view of a problem on a grid that the affine maps to RAS millimetres."""
        box = _occupied(problem)
        extent = np.array([side.stop - side.start for side in box]) * problem.spacing
        size = working_spacing(extent, problem.spacing)
        i, j, k = np.maximum(1, np.round(extent / size)).astype(int).tolist()
        axes = affine.closest_axes
        turned = tuple(v for v, world in enumerate(axes) if affine.direction[world, v] < 0)
        return cls(box, (i, j, k), axes, turned, size)

    def image(self, array: npt.NDArray[Any], device: torch.device | str) -> Tensor:
        """An image of the problem as the network sees it, shape (1, 1, R, A, S)."""
        x = volume(array[self.box], torch.device(device))
        scale = [own / count for own, count in zip(x.shape[2:], self.grid, strict=True)]
        x = smooth(x, [0.5 * s if s > 1 else 0 for s in scale])
        x = functional.interpolate(x, size=list(self.grid), mode="trilinear", align_corners=False)
        order = np.argsort(self.axes).tolist()
        return x.flip([2 + v for v in self.turned]).permute(0, 1, *(2 + v for v in order))

    def displacement(self, seen: Tensor, grid: Sequence[int]) -> Float:
        """A displacement of the network, shape (1, 3, R, A, S), on the whole grid of the problem, in voxels of that.

        Beyond the part that was seen it goes on as at the border.
        """
        x = seen.permute(0, 1, *(2 + world for world in self.axes)).flip([2 + v for v in self.turned])
        x = x[:, list(self.axes)]
        x[:, list(self.turned)] *= -1
        array = carried(x, [side.stop - side.start for side in self.box])[0].cpu().numpy()
        margins = [(side.start, count - side.stop) for side, count in zip(self.box, grid, strict=True)]
        return np.pad(array, [(0, 0), *margins], mode="edge")


@torch.no_grad()
def learned_start(problem: Problem, affine: Affine, network: HViT, device: torch.device | str = "cpu") -> Float:
    """What the network says of a problem.

    Parameters
    ----------
    problem
        The images on one grid; a start that it may have is not built on.
    affine
        Maps indices of that grid to RAS millimetres.
    network
        A trained network, in the mode of evaluation.
    device
        Where it is computed.

    Returns
    -------
    ndarray, shape (3, I, J, K)
        Displacement in voxels of the problem's grid.
    """
    view = View.of(problem, affine)
    _, seen = network.to(device)(view.image(problem.moving, device), view.image(problem.fixed, device))
    return view.displacement(seen, problem.grid)


def begun(
    problem: Problem,
    affine: Affine,
    settings: DeformableSettings,
    network: HViT,
    device: torch.device | str = "cpu",
) -> tuple[Problem, DeformableSettings]:
    """The problem with the network's answer to begin with, and settings without the levels that are too coarse for it.

    Parameters
    ----------
    problem, affine, network, device
        As for :func:`learned_start`.
    settings
        How the deformation would be found without it.
    """
    start = learned_start(problem, affine, network, device)
    shrinks = settings.shrinks or default_shrinks(level_grid(problem.grid, problem.spacing, 1), settings.similarity)
    coarsest = _BLOCK * View.of(problem, affine).spacing / min(problem.spacing)
    kept = tuple(shrink for shrink in shrinks if shrink <= coarsest) or shrinks[-1:]
    return replace(problem, start=start), replace(settings, shrinks=kept)


def _occupied(problem: Problem) -> tuple[slice, slice, slice]:
    """The part of the grid where either image is not empty, with a margin."""
    full = np.zeros(problem.grid, bool)
    for image in (problem.fixed, problem.moving):
        full |= image != image.min()
    sides = [np.flatnonzero(full.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    i, j, k = (
        slice(max(0, int(used[0]) - _MARGIN), min(count, int(used[-1]) + 1 + _MARGIN))
        for used, count in zip(sides, problem.grid, strict=True)
    )
    return i, j, k
