"""How the training of a diffusion model runs: the numbers that it adds to those of TV-Unet, on the same data.

Owns :class:`DiffusionSettings`, the default choice, and the settings of a recipe by its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from voxelsmith.core.errors import InputError
from voxelsmith.train.tvunet_settings import TVUnetSettings
from voxelsmith.train.tvunet_settings import settings as usual

_WIDTHS, _LEVELS = 8, 1000


@dataclass(frozen=True)
class DiffusionSettings(TVUnetSettings):
    """As :class:`~voxelsmith.train.tvunet_settings.TVUnetSettings`, for slices with or without neighbours, and:

    Parameters
    ----------
    denoising
        Steps from noise to a sample, a divisor of 1000.
    samples
        Samples whose mean is the answer of the model; previews and validations draw one.
    """

    recipe: ClassVar[str] = "diffusion"

    denoising: int = 10
    samples: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dims == "3d":
            raise InputError("Diffusion learns slices, got dims 3d; choose 2d or 2.5d.")
        if self.activation != "softmax":
            raise InputError(f"Diffusion takes classes that compete, got activation {self.activation}; take softmax.")
        if self.width is not None and (self.width < _WIDTHS or self.width % _WIDTHS):
            raise InputError(f"The width of a diffusion model is a multiple of {_WIDTHS}, got {self.width}; take 16.")
        if self.denoising < 1 or _LEVELS % self.denoising:
            raise InputError(f"Diffusion takes denoising steps that divide {_LEVELS}, got {self.denoising}; take 10.")
        if self.samples < 1:
            raise InputError(f"Diffusion takes samples of 1 or more, got {self.samples}; take 5.")


def settings(**overrides: Any) -> DiffusionSettings:
    """How a diffusion model is trained in the application, with some numbers changed: small slices, rare previews."""
    chosen: dict[str, Any] = {"side": 128, "variation": 0.0, "validate_every": 100, "preview_seconds": 10.0}
    return DiffusionSettings(**{**vars(usual()), **chosen, **overrides})


RECIPES: dict[str, type[TVUnetSettings]] = {kind.recipe: kind for kind in (TVUnetSettings, DiffusionSettings)}
"""The settings of the recipes that learn annotated slices, by name."""
