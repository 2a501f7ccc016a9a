"""Handing a trained network on: as safetensors, TorchScript, ONNX, or a folder in MONAI's bundle form.

Owns the files and what they say about their input. Networks for other runtimes give probabilities of all channels, the
background first; before an image goes in, its brightness must be scaled, and its slices or blocks cut into windows, as
the metadata describe. The shapes of annotated slices, with which an answer is weighed here, are no part of a network.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelsmith import __version__
from voxelsmith.core.errors import InputError, ModelUnavailableError, ResourceError
from voxelsmith.io.atomic import replacing
from voxelsmith.segment.network import import_torch
from voxelsmith.segment.trained import TrainedModel
from voxelsmith.weights import store

if TYPE_CHECKING:
    from torch import Tensor, nn

_OPSET = 17
_EXTRA = "metadata.json"
_SIDE = 64


def save(model: TrainedModel, path: Path | str) -> Path:
    """Write a model as safetensors, which :func:`voxelsmith.segment.trained.load` reads; float32.

    Raises
    ------
    InputError
        If a weight is not finite.
    ResourceError
        If the file cannot be written.
    """
    import_torch()
    store.save(model.weights, path, model.metadata(), half=False, most=None)
    return Path(path)


def save_torchscript(model: TrainedModel, path: Path | str) -> Path:
    """Write the network as TorchScript; its metadata are in the extra file ``metadata.json``, as MONAI has them.

    Raises
    ------
    InputError
        If the network answers by drawing samples.
    ResourceError
        If the file cannot be written.
    """
    _require_plain(model)
    import_torch()
    import torch

    with replacing(path) as temporary, _traced():
        trace: Callable[..., Any] = torch.jit.trace
        script = trace(_answering(model), _example(model))
        torch.jit.save(script, str(temporary), _extra_files={_EXTRA: json.dumps(_description(model))})
    return Path(path)


def save_onnx(model: TrainedModel, path: Path | str) -> Path:
    """Write the network as ONNX, opset 17, for any number of images of any grid that fits the network.

    Raises
    ------
    InputError
        If the network answers by drawing samples.
    ModelUnavailableError
        If the package onnx is not installed.
    ResourceError
        If the file cannot be written.
    """
    _require_plain(model)
    import_torch()
    import torch

    try:
        import onnx
    except ImportError as error:
        raise ModelUnavailableError(
            "Export as ONNX needs the package onnx, which is not installed; run pip install napari-voxelsmith[onnx]."
        ) from error
    net = _answering(model)
    axes = dict(enumerate(("depth", "rows", "columns")[-model.architecture.dims :], 2))
    dynamic = {name: {0: "batch", **axes} for name in ("image", "probabilities")}
    with replacing(path) as temporary:
        with _traced():
            torch.onnx.export(
                net,
                (_example(model),),
                str(temporary),
                dynamo=False,
                opset_version=_OPSET,
                input_names=["image"],
                output_names=["probabilities"],
                dynamic_axes=dynamic,
            )
        graph = onnx.load(str(temporary))
        onnx.helper.set_model_props(graph, {"voxelsmith": json.dumps(_description(model))})
        onnx.checker.check_model(graph)
        onnx.save(graph, str(temporary))
    return Path(path)


def save_bundle(model: TrainedModel, folder: Path | str) -> Path:
    """Write a folder in MONAI's bundle form: ``configs/metadata.json``, TorchScript, weights and a card.

    Raises
    ------
    InputError
        If the folder exists and is not empty, or the network answers by drawing samples.
    ResourceError
        If it cannot be written.
    """
    _require_plain(model)
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"A bundle is written into a new folder, but {target} is there already; choose another name.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".voxelsmith-") as temporary:
            built = Path(temporary) / "bundle"
            for part in ("configs", "models", "docs"):
                (built / part).mkdir(parents=True)
            (built / "configs" / "metadata.json").write_text(json.dumps(_monai_metadata(model), indent=2), "utf-8")
            (built / "docs" / "README.md").write_text(model_card(model), "utf-8")
            save_torchscript(model, built / "models" / "model.ts")
            save(model, built / "models" / "model.safetensors")
            if target.exists():
                target.rmdir()
            shutil.move(built, target)
    except OSError as error:
        raise ResourceError(f"{target} cannot be written ({error.strerror or error}); choose another place.") from error
    return target


def _require_plain(model: TrainedModel) -> None:
    if model.recipe == "diffusion":
        raise InputError(
            "Other runtimes take networks that answer at once, but a diffusion model draws samples; export it as a "
            "checkpoint (safetensors)."
        )


def model_card(model: TrainedModel) -> str:
    """What the network is, as Markdown."""
    plan = model.plan
    classes = "\n".join(f"- {value}: {name}" for value, name in zip(plan.classes, plan.names, strict=True))
    details = "\n".join(f"- {name}: {value}" for name, value in model.details.items())
    size, window = " x ".join(f"{s:.3g}" for s in plan.spacing), " x ".join(map(str, _window(model)))
    return (
        f"# {model.name}\n\nA U-Net ({plan.dims}, width {model.architecture.width}) trained with napari-voxelsmith "
        f"{__version__} on a user's annotations. It was judged on no other data than is said here; look at its results "
        f"before you rely on them.\n\n## Classes\n\n{classes}\n\n## Input\n\nOne channel, orientation {plan.axcodes}, "
        f"voxels of {size} mm, slices along axis {plan.axis}. Brightness: {_brightness(model)}. "
        f"Larger images are shown in overlapping windows of {window}.\n\n## Training\n\n"
        f"- annotations: {model.fingerprint or 'unknown'}\n{details}\n"
    )


def _brightness(model: TrainedModel) -> str:
    scale = model.plan.normalisation
    if scale.low is None or scale.high is None:
        return "the image's 0.5th and 99.5th percentile become -1 and 1, values are clipped at -2 and 2"
    return f"{scale.low:g} and {scale.high:g} become -1 and 1, values are clipped at -2 and 2"


def _window(model: TrainedModel) -> tuple[int, ...]:
    """How much the network saw at once when it was trained."""
    return model.plan.patch[-model.architecture.dims :]


def _description(model: TrainedModel) -> dict[str, Any]:
    return {
        **{name: value for name, value in model.metadata().items() if name in ("voxelsmith", "name", "fingerprint")},
        "plan": model.plan.record(),
        "architecture": model.architecture.record(),
        "brightness": _brightness(model),
        "sides are multiples of": list(model.architecture.multiple),
        "sides of a window": list(_window(model)),
    }


def _monai_metadata(model: TrainedModel) -> dict[str, Any]:
    """As MONAI's schema of bundles wants it, with the plan beside it."""
    plan, architecture = model.plan, model.architecture
    shape = [f"{m}*n" for m in architecture.multiple]
    names = {"0": "background"} | {str(n): name for n, name in enumerate(plan.names, 1)}
    described = {"type": "image", "modality": "any", "is_patch_data": True, "dtype": "float32", "spatial_shape": shape}
    entering = {"format": "image", "num_channels": architecture.inputs, "value_range": [-2, 2]}
    leaving = {"format": "segmentation", "num_channels": architecture.outputs, "value_range": [0, 1]}
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": "trained in napari"},
        "monai_version": "1.5.0",
        "pytorch_version": "2.6.0",
        "numpy_version": "1.26.0",
        "required_packages_version": {},
        "task": "Segmentation",
        "description": f"U-Net trained with napari-voxelsmith {__version__}: {', '.join(plan.names)}",
        "authors": "the user",
        "copyright": "the user",
        "network_data_format": {
            "inputs": {"image": {**described, **entering, "channel_def": {"0": "image"}}},
            "outputs": {"pred": {**described, **leaving, "channel_def": names}},
        },
        "voxelsmith": _description(model),
    }


def _answering(model: TrainedModel) -> nn.Module:
    """The network with its activation, of layers that every runtime knows."""
    import torch

    class Answering(torch.nn.Module):
        """Image in, probabilities out."""

        def __init__(self, network: nn.Module, activation: nn.Module) -> None:
            super().__init__()
            self.network, self.activation = network, activation

        def forward(self, image: Tensor) -> Tensor:
            """Probabilities of all channels."""
            out: Tensor = self.activation(self.network(image))
            return out

    soft = model.plan.activation == "softmax"
    return Answering(model.network(portable=True), torch.nn.Softmax(1) if soft else torch.nn.Sigmoid()).eval()


@contextmanager
def _traced() -> Iterator[None]:
    """Leave out what torch says while it traces: layers check shapes, and tracing is on its way out.

    It is still what many runtimes load; the newer ways need more packages, and much more time.
    """
    import torch

    tracing: type[Warning] = vars(torch.jit)["TracerWarning"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", tracing)
        # Instance normalisation measures the image that it is given in either mode.
        warnings.filterwarnings("ignore", ".*operator 'instance_norm'", UserWarning)
        yield


def _example(model: TrainedModel) -> Tensor:
    import torch

    sides = [max(m, _SIDE // m * m) if n else m * 4 for n, m in enumerate(model.architecture.multiple)]
    return torch.zeros(1, model.architecture.inputs, *sides)
