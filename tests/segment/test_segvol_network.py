"""SegVol as functions of arrays, and how it is loaded."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from segvol_weights import TINY, filled
from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError, PromptError, ResourceError
from voxelsmith.core.progress import run_job
from voxelsmith.models.segvol import net as net_module
from voxelsmith.segment.segvol import network as network_module
from voxelsmith.segment.segvol import tokeniser
from voxelsmith.segment.segvol.network import TorchSegVol, ViewPrompts, load_network
from voxelsmith.weights import containers

# The weights of a vocabulary of 60 pieces, whose last one ends a text.
ARCHITECTURE = replace(TINY, vocabulary=60)
LETTERS = "acdefghilmoprstuvyz."
VOCABULARY = {
    piece: number
    for number, piece in enumerate([*LETTERS, *(f"{c}</w>" for c in LETTERS), tokeniser.START, tokeniser.END])
}
NO_POINTS = {"points": np.zeros((0, 3), np.float32), "labels": np.zeros(0, int)}
BOX = np.array([1, 2, 3, 6, 12, 20], np.float32)


def view():
    return np.random.default_rng(0).random(TINY.view, dtype=np.float32)


@pytest.fixture
def net():
    return filled(TINY, text=False)


@pytest.fixture
def network(net):
    return TorchSegVol(net, "these", device="cpu")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with small weights where the published ones belong."""
    monkeypatch.setattr(net_module, "Architecture", lambda: ARCHITECTURE)
    monkeypatch.setenv("VOXELSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VOXELSMITH_WEIGHTS", str(tmp_path / "own"))
    folder = tmp_path / "own" / "segvol"
    folder.mkdir(parents=True)
    torch.save({f"model.{n}": w for n, w in filled(ARCHITECTURE).state_dict().items()}, folder / "pytorch_model.bin")
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    network_module._loaded.cache_clear()
    yield folder
    network_module._loaded.cache_clear()


@torch.no_grad()
def test_arrays_in_and_out(net, network):
    text = np.linspace(-1, 1, TINY.width, dtype=np.float32)
    points, labels = np.array([[2, 3, 4], [7, 15, 23]], np.float32), np.array([1, -1])
    given = {"points": points, "labels": labels, "box": BOX, "text": text}
    found = network.decode(run_job(network.encode(view())), ViewPrompts(**given))
    tensors = {name: torch.from_numpy(array)[None] for name, array in given.items()}
    expected = net.decode(net.encode(torch.from_numpy(view())[None, None]), **tensors)
    assert (found.shape, found.dtype) == (TINY.view, np.float32)
    np.testing.assert_allclose(found, expected[0, 0].numpy(), atol=1e-5)


def test_prompts_are_optional_but_one_is_needed(network):
    embedding = run_job(network.encode(view()))
    with_box = network.decode(embedding, ViewPrompts(**NO_POINTS, box=BOX))
    with_point = network.decode(embedding, ViewPrompts(np.ones((1, 3), np.float32), np.array([1])))
    assert not np.allclose(with_box, with_point)
    with pytest.raises(PromptError, match="a point, a box or a word"):
        network.decode(embedding, ViewPrompts(**NO_POINTS))


def test_a_view_of_another_shape_is_refused(network):
    with pytest.raises(InputError, match="8 x 16 x 24 voxels at a time, got 8 x 16 x 16"):
        run_job(network.encode(view()[:, :, :16]))


def test_any_layout_of_a_view_is_read(network):
    turned = np.asfortranarray(view()).astype(np.float64)
    torch.testing.assert_close(run_job(network.encode(turned)), run_job(network.encode(view())))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_nearly_the_same(network, net, precision):
    half = TorchSegVol(net, "these", device="cpu", precision=precision)
    prompts = ViewPrompts(**NO_POINTS, box=BOX)
    answers = [each.decode(run_job(each.encode(view())), prompts) for each in (network, half)]
    assert not np.array_equal(*answers)
    np.testing.assert_allclose(answers[1], answers[0], atol=0.1)


def test_too_little_memory_is_told(network, net, monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(net.image_encoder, "stages", lambda: [full])
    with pytest.raises(ResourceError, match="memory of cpu"):
        run_job(network.encode(view()))


def test_encoding_can_be_stopped_before_every_block_and_leaves_torch_as_it_was(net, network):
    job = network.encode(view())
    reports = [next(job) for _ in range(2)]
    assert not torch.is_inference_mode_enabled()
    job.close()
    assert [r.done for r in reports] == [0, 1]
    assert reports[0].total == len(net.image_encoder.blocks) + 2


def test_without_a_text_encoder_words_are_refused(network):
    with pytest.raises(ModelUnavailableError, match="points or a box"):
        network.text("liver")


@torch.no_grad()
def test_the_published_weights_answer(machine):
    network = load_network("cpu")
    assert load_network("cpu") is network
    prompts = ViewPrompts(**NO_POINTS, box=BOX, text=network.text("liver"))
    expected = filled(ARCHITECTURE)
    tensors = {"box": torch.from_numpy(BOX)[None], "text": torch.from_numpy(prompts.text.copy())[None]}
    logits = expected.decode(expected.encode(torch.from_numpy(view())[None, None]), **tensors)
    np.testing.assert_allclose(
        network.decode(run_job(network.encode(view())), prompts), logits[0, 0].numpy(), atol=1e-5
    )


@torch.no_grad()
def test_the_text_encoder_is_read_for_a_new_word_only(machine, monkeypatch):
    network = load_network("cpu")
    assert not any("text_encoder" in name for name, _ in network._net.named_modules())
    parts, load = [], containers.load
    monkeypatch.setattr(containers, "load", lambda file, model, part: (parts.append(part), load(file, model, part))[1])
    found = network.text("liver")
    network.text("Liver")
    assert parts == [("text_encoder.",)]
    letters = [*"a", *"computerized", *"tomography", *"of", *"a", *"liver", "."]
    ends = np.cumsum([len(word) for word in ("a", "computerized", "tomography", "of", "a", "liver", ".")]) - 1
    numbers = [VOCABULARY[c + "</w>" * (n in ends)] for n, c in enumerate(letters)]
    pieces = torch.tensor([[VOCABULARY[tokeniser.START], *numbers, VOCABULARY[tokeniser.END]]])
    np.testing.assert_allclose(found, filled(ARCHITECTURE).text_encoder(pieces)[0].numpy(), atol=1e-5)


def test_a_known_word_needs_no_vocabulary_but_a_new_one_does(machine):
    known = load_network("cpu").text("liver")
    (machine / "vocab.json").unlink()
    network_module._loaded.cache_clear()
    network = load_network("cpu")
    np.testing.assert_array_equal(network.text("liver"), known)
    with pytest.raises(ModelUnavailableError, match=r"vocab\.json"):
        network.text("spleen")


def test_other_weights_are_another_network(machine):
    before = load_network("cpu")
    word = before.text("liver").copy()
    state = {n: w + 0.01 * w if w.is_floating_point() else w for n, w in filled(ARCHITECTURE).state_dict().items()}
    torch.save(state, machine / "pytorch_model.bin")
    after = load_network("cpu")
    assert after.identity != before.identity
    assert not np.allclose(after.text("liver"), word)


def test_missing_and_foreign_weights_are_told(machine):
    torch.save({"a": torch.ones(2)}, machine / "pytorch_model.bin")
    with pytest.raises(FormatError, match="of another network"):
        load_network("cpu")
    (machine / "pytorch_model.bin").unlink()
    with pytest.raises(ModelUnavailableError, match="voxelsmith weights get segvol"):
        load_network("cpu")
