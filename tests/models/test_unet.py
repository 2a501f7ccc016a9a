"""The U-Net: the published size, anisotropic levels, shapes, and a portable twin."""

import json

import pytest
import torch

from voxelsmith.models.unet import Architecture, UNet, levels_for, published


def size_of(model):
    """Parameters with the running statistics of batch normalisation."""
    running = sum(b.numel() for name, b in model.named_buffers() if "running" in name)
    return running + sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("width", "count"), [(64, 34_535_810), (32, 8_641_730), (16, 2_164_322)])
def test_the_published_network_has_the_published_number_of_parameters(width, count):
    record = published().record()
    with torch.device("meta"):
        assert size_of(UNet(Architecture.from_record({**record, "width": width}))) == count


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(inputs=3, outputs=4, width=4),
        Architecture(width=4, norm="batch", dropout=0.2, wide_up=True),
        Architecture(width=4, strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)), wide_up=True),
        Architecture(width=4, strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))),
    ],
)
def test_logits_have_the_grid_of_the_input(architecture):
    grid = tuple(3 * m for m in architecture.multiple)
    x = torch.rand(2, architecture.inputs, *grid)
    logits = UNet(architecture)(x)
    assert logits.shape == (2, architecture.outputs, *grid)
    assert logits.dtype == torch.float32


def test_levels_follow_the_spacing_and_stop_where_little_is_left():
    strides, kernels = levels_for((3, 1, 1), (16, 64, 64))
    assert strides == ((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert kernels == ((1, 3, 3),) + ((3, 3, 3),) * 4
    assert levels_for((1, 1), (128, 128))[0] == ((2, 2),) * 4
    assert levels_for((1, 1), (16, 16))[0] == ((2, 2), (2, 2))


def test_an_architecture_survives_json():
    architecture = Architecture(inputs=3, strides=((1, 2, 2),), kernels=((1, 3, 3), (3, 3, 3)))
    assert Architecture.from_record(json.loads(json.dumps(architecture.record()))) == architecture
    assert (architecture.dims, architecture.multiple) == (3, (1, 2, 2))


def test_the_portable_network_gives_the_same_answer():
    torch.manual_seed(0)
    architecture = Architecture(width=4, strides=((2, 2, 2),), kernels=((3, 3, 3),) * 2)
    model, twin = UNet(architecture).eval(), UNet(architecture, portable=True).eval()
    twin.load_state_dict(model.state_dict())
    x = torch.rand(1, 1, 8, 8, 8)
    assert type(twin.head) is torch.nn.Conv3d
    torch.testing.assert_close(twin(x), model(x), rtol=1e-4, atol=1e-5)


def test_every_input_channel_matters():
    torch.manual_seed(0)
    model = UNet(Architecture(inputs=2, width=4)).eval()
    x = torch.rand(1, 2, 32, 32)
    for channel in range(2):
        other = x.clone()
        other[:, channel] = other[:, channel].flip(-1)
        assert (model(other) - model(x)).abs().max() > 1e-3
