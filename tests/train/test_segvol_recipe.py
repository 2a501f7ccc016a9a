"""SegVol's training: the published loss and schedule, prompts that get better answers, weights for the engine."""

import numpy as np
import pytest
import torch
from segvol_scans import NAMES, SMALL, recipe, two_scans, views
from torch.nn import functional

from segvol_weights import GOLDEN, filled
from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.core.progress import run_job
from voxelsmith.models.segvol import SegVolNet
from voxelsmith.segment.segvol import tokeniser
from voxelsmith.segment.segvol.text import SENTENCE
from voxelsmith.train import segvol, segvol_prompts
from voxelsmith.train.checkpoint import export
from voxelsmith.train.loop import train
from voxelsmith.train.losses import segvol_dice_loss
from voxelsmith.train.segvol_settings import published_rate
from voxelsmith.weights import containers, zoo

KINDS = ("box", "point", "text")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other take longer than networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def golden():
    return np.load(GOLDEN / "training.npz")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file with small weights, the vocabulary that belongs to them, and no other weights."""

    class Letters:
        def pieces(self, sentence):
            return [57, *(ord(letter) % 50 for letter in sentence), 59]

    monkeypatch.setenv("VOXELSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VOXELSMITH_WEIGHTS", raising=False)
    monkeypatch.setattr(tokeniser, "published", lambda file: Letters())
    file = tmp_path / "published.bin"
    torch.save({f"model.{name}": tensor for name, tensor in filled(SMALL).state_dict().items()}, file)
    return file


def settings(**changes):
    quick = {"accumulate": 1, "learning_rate": 4e-3, "warm_up": 10, "workers": 0, "device": "cpu", "log_every": 5}
    return segvol.settings(**{**quick, "precision": "float32", **changes})


def trained(recipe, folder, resume=False, **changes):
    return run_job(train(recipe, settings(**changes), folder, resume=resume))


def test_the_dice_loss_is_the_published_one_of_whole_volumes(golden):
    random = np.random.RandomState(17)
    logits = (6 * (2 * random.random_sample((2, 3, 8, 8)) - 1)).astype(np.float32)
    target = (random.random_sample((2, 3, 8, 8)) > 0.6).astype(np.float32)
    target[0, 0, 0, :3] = 0
    logits, target = torch.from_numpy(logits)[:, None], torch.from_numpy(target)[:, None]
    assert segvol_dice_loss(logits, target).item() == pytest.approx(golden["loss_dice"], rel=1e-5)
    entropy = functional.binary_cross_entropy_with_logits(logits, target)
    assert entropy.item() == pytest.approx(golden["loss_bce"], rel=1e-5)
    one = segvol_dice_loss(logits[:1], target[:1]).item()
    assert one == pytest.approx(golden["loss_dice_single_unsqueezed"], rel=1e-5)
    slices = segvol_dice_loss(logits[0, 0], target[0, 0]).item()
    assert slices == pytest.approx(golden["loss_dice_single_squeezed"], rel=1e-5)
    assert segvol_dice_loss(torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2)) == 1
    with pytest.raises(ValueError, match="one shape"):
        segvol_dice_loss(logits, target[:1])


def test_the_schedule_is_the_published_one(golden):
    np.testing.assert_allclose([published_rate(epoch) for epoch in range(500)], golden["lr"], rtol=1e-9)
    chosen = segvol.settings(steps=500, warm_up=10)
    np.testing.assert_allclose([chosen.rate(step) for step in range(500)], golden["lr"], rtol=1e-9)
    assert segvol.settings(steps=1, warm_up=0).rate(0) == pytest.approx(1e-4)


def test_the_loss_is_that_of_six_sets_of_prompts_and_a_tenth_of_that_of_six_pseudo_masks(tmp_path):
    recipe_ = recipe(tmp_path)
    sample = recipe_.dataset[3]
    terms = recipe_.loss(sample, np.random.default_rng(8))
    rng, net = np.random.default_rng(8), recipe_.model
    embedding = net.encode(torch.from_numpy(sample.image)[None, None])

    def cost(target, marks):
        logits = net.decode(embedding, **{name: torch.from_numpy(values)[None] for name, values in marks.items()})
        truth = torch.from_numpy(target)[None, None].float()
        return segvol_dice_loss(logits, truth) + functional.binary_cross_entropy_with_logits(logits, truth)

    marks = segvol_prompts.marked(rng, sample.target)
    box, points = {"box": marks.pop("box")}, marks
    text = {"text": recipe_._words[sample.word]}
    sets = [points | text, box | text, text, box, points, box | points]
    supervised = sum(cost(sample.target, each) for each in sets)
    torch.testing.assert_close(terms["supervised"], supervised)
    torch.testing.assert_close(terms["box"], cost(sample.target, box))
    sizes = np.bincount(sample.regions.ravel())
    large = [value for value in range(1, len(sizes)) if sizes[value] >= 0.001 * sample.regions.size]
    pseudo = 0
    for n in range(6):
        mask = sample.regions == rng.choice(large)
        marks = segvol_prompts.marked(rng, mask, 4)
        box = {"box": marks.pop("box")}
        pseudo += cost(segvol_prompts.within_box(sample.regions, mask), box) if n % 2 else cost(mask, marks)
    torch.testing.assert_close(terms["pseudo"], pseudo)
    torch.testing.assert_close(terms["loss"], supervised + 0.1 * pseudo)


def test_what_is_computed_again_on_the_way_back_changes_no_slope(tmp_path):
    net, view = filled(SMALL, text=False), torch.rand(1, 1, *SMALL.view)
    net.encode(view).square().sum().backward()
    found = {name: weight.grad.clone() for name, weight in net.image_encoder.named_parameters()}
    net.zero_grad()
    encoder = net.image_encoder
    x = encoder.patch_embedding(view)
    for block in encoder.blocks:
        x = block(x)
    encoder.norm(x).square().sum().backward()
    for name, weight in encoder.named_parameters():
        torch.testing.assert_close(found[name], weight.grad)


def test_two_scans_are_learned(tmp_path):
    recipe_ = recipe(tmp_path)
    recipe_.model.eval()
    with torch.no_grad():
        before = recipe_.validate()
    history = trained(recipe_, tmp_path / "run", steps=60, validate_every=60)
    first, last = history.rows[0].losses, history.rows[-1]
    assert last.losses["loss"] < 0.7 * first["loss"]
    assert last.losses.keys() == {"loss", "supervised", "pseudo", *KINDS}
    for kind in KINDS:
        assert last.validation[kind] > before[kind] + 0.25
    assert last.validation["score"] == pytest.approx(np.mean([last.validation[kind] for kind in KINDS]))


def test_a_resumed_training_equals_one_that_was_not_stopped(tmp_path):
    straight, halted = recipe(tmp_path), recipe(tmp_path)
    trained(straight, tmp_path / "one", steps=4, validate_every=2)
    job = train(halted, settings(steps=4, validate_every=2), tmp_path / "two")
    while next(job).done < 3:
        pass
    job.close()
    again = recipe(tmp_path)
    trained(again, tmp_path / "two", resume=True, steps=4, validate_every=2)
    expected = straight.model.state_dict()
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_what_is_not_supervised_stays_as_it_was(tmp_path):
    before = {name: tensor.clone() for name, tensor in recipe(tmp_path).model.state_dict().items()}
    for decoder_only in (False, True):
        recipe_ = recipe(tmp_path, decoder_only=decoder_only)
        trained(recipe_, tmp_path / str(decoder_only), steps=3, validate_every=3)
        changed = {n for n, tensor in recipe_.model.state_dict().items() if not torch.equal(tensor, before[n])}
        still = before.keys() - changed
        for part in ("iou_prediction_head", "mask_downscaling", "gaussian_matrix", "hypernetworks_mlps.1"):
            assert any(part in name for name in still)
            assert not any(part in name for name in changed)
        assert any("image_encoder" in name for name in still) == decoder_only
        assert any("image_encoder" in name for name in changed) != decoder_only
        for part in ("output_upscaling", "hypernetworks_mlps.0", "txt_align", "point_embeddings", "no_mask_embed"):
            assert any(part in name for name in changed), part


def test_without_names_there_are_no_words(tmp_path):
    recipe_ = recipe(tmp_path, "names = { 2 = 'spleen' }\n")
    unnamed = next(sample for sample in map(recipe_.dataset.__getitem__, range(20)) if not sample.word)
    assert "text" not in recipe_.loss(unnamed, np.random.default_rng(0))
    nameless = recipe(tmp_path, "")
    with torch.no_grad():
        assert nameless.validate().keys() == {"score", "box", "point"}


def test_a_view_without_pseudo_masks_is_learned_from_as_well(tmp_path):
    recipe_ = recipe(tmp_path)
    sample = recipe_.dataset[0]
    sample.regions[:] = 0
    terms = recipe_.loss(sample, np.random.default_rng(0))
    assert "pseudo" not in terms
    assert terms["loss"] == terms["supervised"]


def test_it_starts_from_a_file_and_embeds_its_words_once(tmp_path, weights):
    made = segvol.recipe(split=two_scans(tmp_path), start=weights, architecture=SMALL)
    whole = filled(SMALL)
    for name, tensor in made.model.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name])
    sentence = SENTENCE.format("spleen")
    pieces = torch.tensor([[57, *(ord(letter) % 50 for letter in sentence), 59]])
    assert made._words.keys() == {"liver", "spleen"}
    np.testing.assert_allclose(made._words["spleen"], whole.text_encoder(pieces)[0].detach().numpy(), atol=1e-5)
    assert "loss" in made.loss(made.dataset[0], np.random.default_rng(0))


def test_names_can_be_given_for_all_volumes(tmp_path, weights):
    split = two_scans(tmp_path, "names = { 1 = 'liver' }\n")
    made = segvol.recipe(split=split, names={1: "kidney", 2: "spleen"}, start=weights, architecture=SMALL)
    assert made._words.keys() == {"liver", "spleen"}
    assert {made.dataset[i].word for i in range(20)} == {"liver", "spleen"}


def test_the_trained_weights_take_the_place_of_the_installed_ones(tmp_path, weights):
    run_job(zoo.add(weights))
    made = segvol.recipe(split=two_scans(tmp_path), architecture=SMALL)
    run = tmp_path / "run"
    trained(made, run, steps=2, validate_every=2)
    made.save(export(run), run / segvol.WEIGHTS, {"step": "2"})
    assert containers.recognise(run / segvol.WEIGHTS) == "segvol"
    found = containers.load(run / segvol.WEIGHTS, SegVolNet(SMALL))
    after, before = made.model.state_dict(), filled(SMALL).state_dict()
    for name, tensor in found.items():
        assert torch.equal(tensor, before[name] if name.startswith("text_encoder") else after[name]), name
    assert run_job(zoo.add(run / segvol.WEIGHTS)) == "segvol"
    again = segvol.recipe(split=tmp_path / "split.toml", architecture=SMALL).model.state_dict()
    assert torch.equal(again["mask_decoder.mask_tokens.weight"], after["mask_decoder.mask_tokens.weight"])
    onward = segvol.recipe(split=tmp_path / "split.toml", start=run, architecture=SMALL).model.state_dict()
    assert all(torch.equal(onward[name], tensor) for name, tensor in after.items())


def test_pairs_serve_as_well(tmp_path, weights):
    two_scans(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.nii.gz").rename(tmp_path / f"{name}_image.nii.gz")
    made = segvol.recipe(pairs=tmp_path, names={1: "liver"}, start=weights, architecture=SMALL)
    assert [entry.patient for entry in made.dataset.entries] == ["a", "b"]
    made.model.eval()
    with torch.no_grad():
        assert made.validate().keys() == {"score", *KINDS}


def test_what_cannot_be_begun_is_told(tmp_path, weights):
    split = two_scans(tmp_path)
    for given in ({}, {"split": split, "pairs": tmp_path}):
        with pytest.raises(InputError, match="from a split or from a folder of pairs; give one of the two"):
            segvol.recipe(**given, start=weights, architecture=SMALL)
    with pytest.raises(ModelUnavailableError, match="voxelsmith weights get segvol"):
        segvol.recipe(split=split, architecture=SMALL)
    for start in (tmp_path, tmp_path / "none.bin"):
        with pytest.raises(InputError, match="should be a file with weights, but there is none"):
            segvol.recipe(split=split, start=start, architecture=SMALL)
    with pytest.raises(FormatError, match="should have 474 tensors, but lacks"):
        segvol.recipe(split=split, start=weights)


def test_validation_needs_an_object(tmp_path):
    recipe_ = recipe(tmp_path)
    recipe_._judges = views(tmp_path, NAMES)
    for entry in recipe_._judges.entries:
        recipe_._judges._volume(entry).values.clear()
    with pytest.raises(InputError, match="to validate on show no object"):
        recipe_.validate()
