"""Containers: the files in which others publish weights, read without running what is in them.

Owns which forms are understood: what ``torch.save`` writes, new and old, and safetensors; tensors by name at the top,
or under ``model`` or ``state_dict``; names with ``module.`` and ``model.`` before them. Pickled code is refused. A
large file is mapped, not read, so that a part of it costs that part only.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import FormatError, ModelUnavailableError

if TYPE_CHECKING:
    import torch

_ZIP = b"PK\x03\x04"
_WRAPPERS = ("model", "state_dict")
_PREFIXES = ("module.", "model.")
_PRETRAINED_ENCODER = "model.encoder."
_TELLTALE = {
    "segvol": {
        "image_encoder.patch_embedding.position_embeddings",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "mask_decoder.txt_align_upscaled_embedding.weight",
        "text_encoder.dim_align.weight",
    }
}
# Nothing reads these. Libraries of some versions leave them out, those of others add them.
_UNUSED = re.compile(r".*\.position_ids|image_encoder\.blocks\.\d+\.norm_cross_attn\.(weight|bias)")
_SHOWN = 3


def recognise(path: Path | str) -> str | None:
    """The network of the zoo whose tensors a file holds, or None if it is another one.

    Raises
    ------
    FormatError, ModelUnavailableError
        As :func:`tensors` does.
    """
    names = set(tensors(path))
    return next((name for name, telltale in _TELLTALE.items() if telltale <= names), None)


def load(path: Path | str, model: torch.nn.Module, parts: Iterable[str] = ("",)) -> dict[str, torch.Tensor]:
    """The tensors of a network, floating-point ones as float32, in memory of their own.

    Parameters
    ----------
    path
        The file.
    model
        The whole network, whose tensors say which names and shapes are right; it may be on the device "meta".
    parts
        With which the names of the wanted tensors begin; all are wanted by default. The others are not read.

    Raises
    ------
    FormatError
        As :func:`tensors` does, or if tensors are missing, have another shape, are not known, or hold NaN or infinity.
    ModelUnavailableError
        If the file cannot be read.
    """
    import torch

    file, found = Path(path), tensors(path)
    known = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if not _UNUSED.fullmatch(name)}
    wanted = {name: shape for name, shape in known.items() if name.startswith(tuple(parts))}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FormatError(
            f"{file} should have {_count(len(wanted))}, but lacks {_list(missing)}; it is of another network or only a "
            "part of this one, so choose another file."
        )
    misshapen = [
        f"{name} with {_shape(found[name].shape)} for {_shape(shape)}"
        for name, shape in wanted.items()
        if tuple(found[name].shape) != shape
    ]
    if misshapen:
        raise FormatError(f"{file} has other shapes than the network: {_list(misshapen)}; choose another file.")
    foreign = [name for name in found if name not in known and not _UNUSED.fullmatch(name)]
    if foreign:
        raise FormatError(f"{file} has what the network does not: {_list(foreign)}; choose another file.")
    out = {name: found[name].to(torch.float32, copy=True) for name in wanted}
    broken = [name for name, tensor in out.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise FormatError(f"{file} has NaN or infinity in {_list(broken)}; it is damaged, so fetch it again.")
    return out


def tensors(path: Path | str) -> dict[str, torch.Tensor]:
    """All tensors of a file by their names, without what frameworks put before them; mapped where possible.

    Of a file that holds the pre-trained image encoder of SegVol, that one, under ``image_encoder.``.

    Raises
    ------
    FormatError
        If the file is damaged, holds code, or no tensors by name.
    ModelUnavailableError
        If the file cannot be read.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise ModelUnavailableError(f"{file} cannot be read ({error.strerror}); make the file readable.") from error
    content = _safetensors(file) if start[8:] == b"{" else _torch(file, mapped=start.startswith(_ZIP))
    return _plain(file, content)


def _safetensors(file: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise _damaged(file, error) from error


def _torch(file: Path, *, mapped: bool) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            # Old files make torch use classes of its own that it has declared old.
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise FormatError(
            f"{file} should hold weights as PyTorch or safetensors write them, but is something else or holds code, "
            "which is never run; choose another file, or have its author save the tensors alone."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise _damaged(file, error) from error


def _plain(file: Path, content: Any) -> dict[str, torch.Tensor]:
    import torch

    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise FormatError(f"{file} should hold tensors by name, but has none; choose a file with weights.")
    odd = [name for name, value in content.items() if not isinstance(name, str) or not isinstance(value, torch.Tensor)]
    if odd:
        raise FormatError(
            f"{file} should hold tensors by name, but {_list(map(str, odd))} is none; choose another file."
        )
    encoder = {n: t for n, t in content.items() if n.startswith(_PRETRAINED_ENCODER)}
    if encoder:
        return {f"image_encoder.{name.removeprefix(_PRETRAINED_ENCODER)}": t for name, t in encoder.items()}
    names = list(content)
    while prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in names)), None):
        names = [name.removeprefix(prefix) for name in names]
    return dict(zip(names, content.values(), strict=True))


def _damaged(file: Path, error: Exception) -> FormatError:
    reason = re.split(r"\n|\. ", str(error))[0].rstrip(".")
    return FormatError(f"{file} cannot be read as weights ({reason}); it is damaged or cut off, so fetch it again.")


def _list(names: Iterable[str]) -> str:
    all_names = list(names)
    shown = ", ".join(all_names[:_SHOWN])
    return shown if len(all_names) <= _SHOWN else f"{shown} and {len(all_names) - _SHOWN} more"


def _count(number: int) -> str:
    return f"{number} tensor{'' if number == 1 else 's'}"


def _shape(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
