"""What answers a window: the protocol, and the network of :mod:`voxelsmith.models.crossmodality` behind it.

Owns which weights are taken for which sequences, and the change from arrays to tensors and back.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import ModelUnavailableError, ResourceError
from voxelsmith.segment.tumour.names import MODALITIES, Modality
from voxelsmith.segment.tumour.request import Device

if TYPE_CHECKING:
    from voxelsmith.models.crossmodality import CrossModalityNet

FloatArray = npt.NDArray[np.float32]
Available = npt.NDArray[np.bool_]

TWO, FOUR = "cmf-2", "cmf-4"
"""Weights that ship: for T1c and FLAIR, and for all four sequences."""

_TRAIN = "train your own with voxelsmith train cmf FOLDER --out RUN_DIR and name that folder as the model"


class TumourNetwork(Protocol):
    """A network as functions of arrays.

    Parameters
    ----------
    identity
        Which weights it has, for the record.
    modalities
        The sequences that it looks at, in the order of its channels.
    side, multiple
        Most voxels along a side of a window, and what the sides are multiples of.
    """

    identity: str
    modalities: tuple[Modality, ...]
    side: int
    multiple: int

    def __call__(self, images: FloatArray, available: Available) -> FloatArray:
        """Probabilities of WT, TC and ET, shape (3, i, j, k).

        Parameters
        ----------
        images : float array, shape (C, i, j, k)
            z-scores, 0 outside the brain and where a sequence is missing.
        available : bool array, shape (C,)
            Which sequences there are.
        """
        ...

    def synthetic(self, available: Available) -> tuple[Modality, ...]:
        """The sequences that it makes up where these are available."""
        ...


class TorchTumourNetwork:
    """A torch network on a device; see :class:`TumourNetwork`.

    Parameters
    ----------
    net
        The network.
    identity
        Which weights it has.
    device
        Where it runs.
    """

    def __init__(self, net: CrossModalityNet, identity: str, device: Device = "auto") -> None:

        from voxelsmith.models.crossmodality import WINDOW
        from voxelsmith.models.device import pick_device, uses_bfloat16

        self.identity = identity
        self.modalities: tuple[Modality, ...] = tuple(
            modality for name in net.architecture.modalities for modality in MODALITIES if modality == name
        )
        self.side, self.multiple = WINDOW, net.architecture.multiple
        self._place = pick_device(device)
        self._half = uses_bfloat16("auto", self._place)
        self._net = net.to(self._place).eval()

    def __call__(self, images: FloatArray, available: Available) -> FloatArray:
        """As :meth:`TumourNetwork.__call__`."""
        import torch

        from voxelsmith.models.crossmodality import probabilities

        try:
            with torch.inference_mode(), torch.autocast(self._place.type, torch.bfloat16, enabled=self._half):
                x = torch.from_numpy(images)[None].to(self._place).contiguous(memory_format=torch.channels_last_3d)
                answer = self._net(x, torch.from_numpy(available)[None].to(self._place))
                out: FloatArray = probabilities(answer.logits.float())[0].cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"The memory of {self._place.type} is too small for the tumour network; close what else uses it, or "
                "choose the CPU."
            ) from error
        return out

    def synthetic(self, available: Available) -> tuple[Modality, ...]:
        """As :meth:`TumourNetwork.synthetic`."""
        import torch

        made = self._net.synthesises(torch.from_numpy(available)[None].to(self._place))[0].tolist()
        return tuple(modality for modality, synthetic in zip(self.modalities, made, strict=True) if synthetic)


def load_network(source: str | Path, available: Collection[Modality], device: Device = "auto") -> TorchTumourNetwork:
    """The network for the sequences that there are.

    Parameters
    ----------
    source
        "auto" takes the weights that ship for T1c and FLAIR where there is nothing else, else those for all four; any
        other name or path is taken as it is.
    available
        The sequences that there are.
    device
        Where it runs.

    Raises
    ------
    ModelUnavailableError
        If there are no such weights; the sentence says how to train some.
    FormatError
        If the file holds other weights.
    """
    from voxelsmith.segment import crossmodality

    chosen = source
    if source == "auto":
        chosen = TWO if set(available) <= {"t1c", "flair"} else FOUR
    try:
        net = crossmodality.load_network(chosen)
    except ModelUnavailableError as error:
        raise ModelUnavailableError(f"{str(error).rstrip('.')}; or {_TRAIN}.") from error
    return TorchTumourNetwork(net, str(chosen), device)
