"""Weights of others: in every container they come in, and what is said of files that are none."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segvol_weights import TINY, filled
from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.models.segvol import SegVolNet
from voxelsmith.weights import containers

STATE = filled(TINY).state_dict()


@pytest.fixture
def model():
    with torch.device("meta"):
        return SegVolNet(TINY)


def prefixed(prefix, state=STATE):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def of_training(state):
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 3)
    return {"model": state, "optimizer": optimiser.state_dict(), "epoch": 7, "scheduler": schedule.state_dict()}


FORMS = {
    "flat": lambda: OrderedDict(STATE),
    "model.": lambda: prefixed("model."),
    "module.": lambda: prefixed("module."),
    "module.model.": lambda: prefixed("module.model."),
    "a training": lambda: of_training(prefixed("module.")),
    "state_dict": lambda: {"state_dict": prefixed("model."), "epoch": 3},
}


def written(tmp_path, content, name="weights.pth", **options):
    torch.save(content, tmp_path / name, **options)
    return tmp_path / name


def same(found, expected=STATE):
    wanted = {name: tensor for name, tensor in expected.items() if not name.endswith("position_ids")}
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor.float(), rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_every_form_is_read_and_recognised(tmp_path, model, form, old):
    file = written(tmp_path, FORMS[form](), _use_new_zipfile_serialization=not old)
    assert containers.recognise(file) == "segvol"
    same(containers.load(file, model))


@pytest.mark.parametrize("prefix", ["", "model."])
def test_safetensors(tmp_path, model, prefix):
    file = tmp_path / "any.name"
    save_file({prefix + name: tensor.clone() for name, tensor in STATE.items()}, file)
    assert containers.recognise(file) == "segvol"
    same(containers.load(file, model))


def test_half_precision_becomes_single(tmp_path, model):
    halved = {name: tensor.half() for name, tensor in STATE.items()}
    same(containers.load(written(tmp_path, halved), model), halved)


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_a_file_that_can_be_mapped_is_not_read_to_recognise_it(tmp_path, monkeypatch, old):
    file, mapped, load = written(tmp_path, FORMS["flat"](), _use_new_zipfile_serialization=not old), [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **options: (mapped.append(options["mmap"]), load(*a, **options))[1])
    containers.recognise(file)
    assert mapped == [not old]


def test_what_is_loaded_outlives_its_file(tmp_path, model):
    file = written(tmp_path, FORMS["flat"]())
    loaded = containers.load(file, model)
    with file.open("r+b") as stream:
        stream.write(bytes(file.stat().st_size))
    same(loaded)


def test_a_part_is_read_alone(tmp_path, model):
    file = written(tmp_path, FORMS["model."]())
    parts = ("image_encoder.", "mask_decoder.")
    same(containers.load(file, model, parts), {n: t for n, t in STATE.items() if n.startswith(parts)})


def test_the_pretrained_image_encoder(tmp_path, model):
    encoder = {n.removeprefix("image_encoder."): t for n, t in STATE.items() if n.startswith("image_encoder.")}
    rest = {"model.decoder.weight": torch.ones(3)}
    file = written(tmp_path, {"state_dict": prefixed("model.encoder.", encoder) | rest}, "vit_pretrain.ckpt")
    assert containers.recognise(file) is None
    same(containers.load(file, model, ("image_encoder.",)), prefixed("image_encoder.", encoder))
    with pytest.raises(FormatError, match=r"lacks prompt_encoder\."):
        containers.load(file, model)


def test_what_libraries_add_or_leave_out_does_no_harm(tmp_path, model):
    state = {name: tensor for name, tensor in STATE.items() if not name.endswith("position_ids")}
    state["image_encoder.blocks.1.norm_cross_attn.weight"] = torch.ones(TINY.width)
    same(containers.load(written(tmp_path, state), model))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: [s.pop(n) for n in list(s)[:5]], r"lacks .*position_embeddings, .* and 2 more"),
        (lambda s: s.update({"prompt_encoder.no_mask_embed.weight": torch.ones(1, 5)}), r"1 x 5 for 1 x 32"),
        (lambda s: s.update({"image_encoder.neck.weight": torch.ones(1)}), r"does not: image_encoder\.neck\.weight"),
        (lambda s: s["image_encoder.norm.bias"].fill_(torch.nan), r"NaN or infinity in image_encoder\.norm\.bias"),
        (lambda s: s.update({"epoch": 3}), r"epoch is none"),
    ],
    ids=["missing", "misshapen", "foreign", "not finite", "no tensor"],
)
def test_weights_that_do_not_fit_are_refused_in_a_sentence(tmp_path, model, change, said):
    state = {name: tensor.clone() for name, tensor in STATE.items()}
    change(state)
    with pytest.raises(FormatError, match=said):
        containers.load(written(tmp_path, state), model)


class Trap:
    """Its pickle makes a file when it is run."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (Path(self.file),)


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_code_is_not_run(tmp_path, form):
    trap, file = tmp_path / "sprung", tmp_path / "weights.pth"
    content = {"model": dict(STATE), "extra": Trap(trap)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content["extra"]))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    for read in (containers.recognise, containers.tensors):
        with pytest.raises(FormatError, match="holds code"):
            read(file)
    assert not trap.exists()


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.001])
def test_a_file_that_was_cut_off(tmp_path, model, form, kept):
    file = tmp_path / "weights"
    if form == "safetensors":
        save_file({name: tensor.clone() for name, tensor in STATE.items()}, file)
    else:
        torch.save(STATE, file, _use_new_zipfile_serialization=form == "zip")
    os.truncate(file, int(file.stat().st_size * kept))
    with pytest.raises(FormatError, match=r"damaged or cut off|something else"):
        containers.load(file, model)


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"\x1f\x8b" + bytes(500), b"{}", bytes(400), b"weights, honestly"]
)
def test_a_file_of_another_kind(tmp_path, data):
    file = tmp_path / "weights.bin"
    file.write_bytes(data)
    with pytest.raises(FormatError, match=r"weights\.bin"):
        containers.recognise(file)


@pytest.mark.parametrize("content", [[torch.ones(2)], {}, {"model": {}}, torch.ones(3), 5], ids=str)
def test_content_without_names(tmp_path, content):
    with pytest.raises(FormatError, match="tensors by name"):
        containers.tensors(written(tmp_path, content))


def test_another_network_is_not_recognised(tmp_path):
    assert containers.recognise(written(tmp_path, torch.nn.Conv3d(1, 2, 3).state_dict())) is None


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelUnavailableError, match="cannot be read"):
        containers.tensors(tmp_path / "none.pth")
