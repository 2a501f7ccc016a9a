"""Networks that are trained in the application, by the name of their recipe.

Owns which architecture a recipe has and which network an architecture describes, so that a checkpoint or a file finds
its way back to its network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from voxelsmith.models.diffusion import DiffusionArchitecture, DiffusionNet
from voxelsmith.models.unet import Architecture, UNet

AnyArchitecture: TypeAlias = Architecture | DiffusionArchitecture
Network: TypeAlias = UNet | DiffusionNet

_ARCHITECTURES: dict[str, type[AnyArchitecture]] = {"tvunet": Architecture, "diffusion": DiffusionArchitecture}


def recipe_of(architecture: AnyArchitecture) -> str:
    """The name of the recipe that trains such a network."""
    return next(name for name, kind in _ARCHITECTURES.items() if isinstance(architecture, kind))


def architecture_from(recipe: str, record: Mapping[str, Any]) -> AnyArchitecture:
    """The architecture of a recipe from its plain values; KeyError if there is no such recipe."""
    return _ARCHITECTURES[recipe].from_record(record)


def network_of(architecture: AnyArchitecture, *, portable: bool = False) -> Network:
    """A network with first weights; ``portable`` as for :class:`~voxelsmith.models.unet.UNet`."""
    if isinstance(architecture, DiffusionArchitecture):
        return DiffusionNet(architecture)
    return UNet(architecture, portable=portable)
