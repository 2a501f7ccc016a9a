"""Where weights lie, and how they are read and written.

Owns the rule that nothing is used unchecked: the bytes that become tensors are the bytes whose SHA-256 the manifest
names. Files are half-precision safetensors, never pickled code; they lie in ``files`` beside this module, or in a
folder that the environment variable ``VOXELSMITH_WEIGHTS`` names, which is looked at first.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from voxelsmith.core.errors import InputError, ModelUnavailableError
from voxelsmith.io.atomic import replacing
from voxelsmith.weights import manifest

if TYPE_CHECKING:
    import torch

FILES = Path(__file__).with_name("files")
LOCAL_FOLDER = "VOXELSMITH_WEIGHTS"

_lock = threading.Lock()


def path(name: str) -> Path:
    """Where the file of these weights lies; its content is not looked at.

    Raises
    ------
    ModelUnavailableError
        If there are no such weights, their file is missing, or ``VOXELSMITH_WEIGHTS`` names no folder.
    """
    file = manifest.entry(name).file
    for folder in (*local_folders(), FILES):
        if (folder / file).is_file():
            return folder / file
    raise ModelUnavailableError(
        f"The weights {name!r} should be in {FILES / file}, but the file is missing; reinstall napari-voxelsmith, or "
        f"put the file into a folder that {LOCAL_FOLDER} names."
    )


def verify(name: str) -> Path:
    """Read the file of these weights and check its SHA-256.

    Returns
    -------
    Path
        The file, which is intact.

    Raises
    ------
    ModelUnavailableError
        As :func:`path` does, or if the file cannot be read or is not the one that the manifest describes.
    """
    file = path(name)
    _checked(file, manifest.entry(name))
    return file


def load(name: str) -> dict[str, torch.Tensor]:
    """The weights on the CPU, floating-point tensors as float32.

    The tensors are read once and shared by all callers, so they must not be written to; ``load_state_dict`` copies.

    Raises
    ------
    ModelUnavailableError
        As :func:`verify` does.
    """
    file, entry = path(name), manifest.entry(name)
    with _lock:
        return dict(_load(file, entry))


def save(
    state_dict: Mapping[str, torch.Tensor],
    path: Path | str,
    metadata: Mapping[str, str],
    half: bool = True,
    most: int | None = manifest.MAX_BYTES,
) -> None:
    """Write weights as safetensors; the file appears complete or not at all.

    Parameters
    ----------
    state_dict
        Tensors by name, of any device.
    path
        File to write.
    metadata
        Text that travels in the file, such as the version and the settings of the training.
    half
        Store floating-point tensors as float16; otherwise all tensors keep their type.
    most
        Bytes that the file may have, by default what a file may that ships; None for any number.

    Raises
    ------
    InputError
        If a tensor holds NaN or infinity, or becomes infinite as float16, or the file would be too large.
    ResourceError
        If the file cannot be written.
    """
    import torch
    from safetensors.torch import save as to_bytes

    tensors = {}
    for key, tensor in state_dict.items():
        dtype = torch.float16 if half and tensor.is_floating_point() else tensor.dtype
        tensors[key] = tensor.detach().to("cpu", dtype, copy=True).contiguous()
        if not torch.isfinite(tensors[key]).all():
            raise InputError(
                f"The tensor {key} must hold finite numbers, but has NaN, infinity, or values beyond what {dtype} can "
                "hold; save an earlier checkpoint, or with half=False."
            )
    data = to_bytes(tensors, dict(metadata))
    if most is not None and len(data) > most:
        raise InputError(
            f"Weights may take {most / 2**20:.0f} MiB, these take {len(data) / 2**20:.1f} MiB; make the "
            "network smaller or store it as float16."
        )
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def local_folders() -> tuple[Path, ...]:
    """The folder that the user named, if any."""
    named = os.environ.get(LOCAL_FOLDER)
    if not named:
        return ()
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise ModelUnavailableError(
            f"{LOCAL_FOLDER} should name a folder with weights, got {named!r}; correct or unset it."
        )
    return (folder,)


def _checked(file: Path, entry: manifest.WeightsEntry) -> bytes:
    """The bytes of the file, which are those that the manifest describes."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ModelUnavailableError(
            f"The weights {entry.name!r} in {file} cannot be read ({error.strerror}); make the file readable."
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != entry.sha256:
        remedy = "reinstall napari-voxelsmith" if file.parent == FILES else f"replace it or unset {LOCAL_FOLDER}"
        raise ModelUnavailableError(
            f"{file} should have {entry.bytes} bytes with SHA-256 {entry.sha256[:12]}..., but has {len(data)} with "
            f"{digest[:12]}...; it is damaged or of another version, so {remedy}."
        )
    return data


@lru_cache(maxsize=4)
def _load(file: Path, entry: manifest.WeightsEntry) -> dict[str, torch.Tensor]:
    from safetensors.torch import load as from_bytes

    tensors = from_bytes(_checked(file, entry))
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
