"""The diffusion recipe: it learns under noise, answers with the mean of samples, resumes, ignores what is unknown."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from painted import GRID, request, scan
from torch.utils.flop_counter import FlopCounterMode

from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.models.diffusion import LEVELS, DiffusionArchitecture, DiffusionNet
from voxelsmith.segment.trained import apply
from voxelsmith.segment.trained import load as load_model
from voxelsmith.segment.trained_export import save, save_bundle, save_onnx, save_torchscript
from voxelsmith.segment.uncertainty import entropy
from voxelsmith.train.checkpoint import load
from voxelsmith.train.diffusion import DiffusionRecipe
from voxelsmith.train.diffusion_settings import RECIPES, DiffusionSettings, settings
from voxelsmith.train.history import read_history
from voxelsmith.train.tvunet import run, trained_model


def wanted(out, *examples, resume=False, **changes):
    """A request whose few steps take about a second."""
    fast = {"steps": 6, "width": 8, "batch": 2, "patch": 48, "validate_every": 3, "checkpoint_every": 2, "log_every": 1}
    fast |= {"device": "cpu", "precision": "float32", "warm_up": 0, "denoising": 2, "samples": 3}
    return replace(request(out, *examples, resume=resume), settings=settings(**{**fast, **changes}))


def network(**changes):
    """A small network whose last layer, which is zero at first, says something."""
    torch.manual_seed(0)
    net = DiffusionNet(DiffusionArchitecture(**{"width": 8, "denoising": 2, "samples": 3, **changes})).eval()
    for parameter in net.unet.out.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run folder of a short training."""
    folder = tmp_path_factory.mktemp("diffusion") / "run"
    changes = {"steps": 22, "batch": 4, "patch": 32, "learning_rate": 1e-2, "average": 0.8, "validate_every": 22}
    run_job(run(wanted(folder, **changes)))
    return folder


@pytest.fixture(scope="module")
def answer(learned):
    return run_job(apply(trained_model(learned, best=False), scan()[0], "cpu"))


def test_the_loss_falls_in_twenty_steps(learned):
    losses = [row.losses["loss"] for row in read_history(learned)]
    assert np.mean(losses[17:20]) < 0.5 * np.mean(losses[:3])


def test_applied_it_gives_mean_probabilities_and_an_uncertainty_that_points_at_errors(answer):
    likely = answer.probabilities.astype(np.float32)
    assert likely.shape == (2, *GRID)
    assert likely.min() >= 0
    assert likely.sum(axis=0).max() <= 1.001
    truth = np.asarray(scan()[1].array)
    assert dice(truth == 1, np.asarray(answer.labels.array) == 1) > 0.5
    wrong = np.asarray(answer.labels.array) != truth
    unsure = entropy(answer.probabilities)
    assert unsure[wrong].mean() > 2 * unsure[~wrong].mean()


def test_the_answer_is_the_mean_of_samples_that_differ(learned):
    net = trained_model(learned, best=False).network()
    image = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        samples = net.drawn(image)
        mean = net(image).softmax(1)
    assert len(samples) == 3
    torch.testing.assert_close(mean, sum(samples) / 3, rtol=1e-4, atol=1e-5)
    assert float((samples[0] - samples[1]).abs().max()) > 1e-4


def test_samples_are_decided_by_the_seed_and_not_by_the_slices_beside():
    image = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    net, other = network(), network(seed=1)
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        one, again, alone, different = net(image), net(image), net(image[1:2]), other(image)
    assert torch.equal(one, again)
    torch.testing.assert_close(one[1:2], alone, rtol=1e-4, atol=1e-5)
    assert float((one - different).abs().max()) > 1e-3


def test_drawing_leaves_the_global_random_state_alone():
    net = network()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with torch.no_grad():
        net(torch.zeros(1, 1, 16, 16))
    assert torch.equal(torch.rand(1), expected)


def test_a_mask_drowns_in_noise_level_by_level():
    net = network()
    mask = torch.ones(1, 2, 16, 16)
    clean = net.noised(mask, torch.zeros_like(mask), torch.tensor([0]))
    drowned = net.noised(mask, torch.zeros_like(mask), torch.tensor([LEVELS - 1]))
    assert float(clean.mean()) > 0.25
    assert float(drowned.abs().max()) < 0.01
    assert net.scheduler.timesteps.tolist() == [999, 499]


def test_passes_are_counted():
    """Each sample takes as many passes as it has denoising steps."""
    counts = []
    for samples, denoising in ((1, 1), (1, 10), (3, 10)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(samples=samples, denoising=denoising)(torch.zeros(1, 1, 32, 32))
        counts.append(counter.get_total_flops())
    assert counts[1:] == [10 * counts[0], 30 * counts[0]]


def test_what_is_not_annotated_changes_nothing(tmp_path):
    """Neither the loss nor what the network sees of the mask depends on what lies under the ignore label."""
    recipe = DiffusionRecipe(
        wanted(tmp_path).settings,
        DiffusionArchitecture(outputs=3, width=8, denoising=2),
        SimpleNamespace(plan=SimpleNamespace(ordered_spacing=(1.0, 1.0, 1.0), neighbours=0)),
    )
    for parameter in recipe.model.unet.out.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    target = torch.zeros(1, 32, 32, dtype=torch.int64)
    target[:, :, 8:16] = 1
    target[:, :, 16:] = -1

    def gradients(known):
        torch.manual_seed(3)
        recipe.model.zero_grad()
        asked = {}
        forward = recipe.model.denoised

        def spy(noisy, *rest):
            asked["logits"] = forward(noisy, *rest)
            asked["logits"].retain_grad()
            return asked["logits"]

        recipe.model.denoised = spy
        loss = recipe.loss({"image": image, "target": known}, np.random.default_rng(0))["loss"]
        loss.backward()
        recipe.model.denoised = forward
        return float(loss.detach()), asked["logits"].grad

    loss, gradient = gradients(target)
    assert float(gradient[..., 16:].abs().max()) == 0
    assert float(gradient[..., :16].abs().max()) > 0
    told = target.clone()
    told[:, :, 16:] = 2
    assert gradients(told)[0] != loss


def losses_of(folder):
    return [(row.step, row.losses, row.validation) for row in read_history(folder)]


def test_a_stopped_and_resumed_training_equals_a_straight_one(tmp_path):
    run_job(run(wanted(tmp_path / "straight")))
    with pytest.raises(Cancelled):
        run_job(run(wanted(tmp_path / "stopped")), lambda p: p.done < 3)
    assert load(tmp_path / "stopped").step == 3
    run_job(run(wanted(tmp_path / "stopped", resume=True)))
    assert losses_of(tmp_path / "stopped") == losses_of(tmp_path / "straight")
    one, other = load(tmp_path / "straight"), load(tmp_path / "stopped")
    torch.testing.assert_close(one.model, other.model, rtol=0, atol=0)
    assert one.about == other.about


def test_the_checkpoint_and_the_file_name_the_recipe(learned, tmp_path, answer):
    assert load(learned).about["recipe"] == "diffusion"
    model = trained_model(learned, best=False)
    assert model.recipe == "diffusion"
    assert model.architecture.samples == 3
    again = load_model(save(model, tmp_path / "model.safetensors"))
    assert again.architecture == model.architecture
    found = run_job(apply(again, scan()[0], "cpu"))
    np.testing.assert_array_equal(found.probabilities, answer.probabilities)


@pytest.mark.parametrize("export", [save_torchscript, save_onnx, save_bundle])
def test_other_runtimes_get_no_sampler(learned, tmp_path, export):
    with pytest.raises(InputError, match="draws samples; export it as a checkpoint"):
        export(trained_model(learned), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_resumed_by_the_other_recipe(learned, tmp_path):
    with pytest.raises(FormatError, match="should hold a training of TV-Unet, version 1, but it is of another kind"):
        run_job(run(request(learned, resume=True)))
    run_job(run(request(tmp_path / "plain", steps=1)))
    with pytest.raises(FormatError, match="should hold a training of a diffusion model"):
        run_job(run(wanted(tmp_path / "plain", resume=True)))


def test_slices_with_neighbours(tmp_path):
    run_job(run(wanted(tmp_path / "run", dims="2.5d", steps=1, samples=1)))
    model = trained_model(tmp_path / "run")
    assert model.architecture.inputs == 3
    assert run_job(apply(model, scan()[0], "cpu")).probabilities.shape == (2, *GRID)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dims": "3d"}, "got dims 3d; choose 2d"),
        ({"activation": "sigmoid"}, "take softmax"),
        ({"width": 12}, "multiple of 8, got 12"),
        ({"denoising": 3}, "divide 1000, got 3"),
        ({"denoising": 0}, "divide 1000, got 0"),
        ({"samples": 0}, "samples of 1 or more, got 0"),
        ({"patch": 40}, "multiple of 16 and at least 32 pixels, got 40"),
    ],
)
def test_settings_outside_their_range_are_told(change, sentence):
    with pytest.raises(InputError, match=sentence):
        settings(**change)


def test_recipes_by_name():
    assert RECIPES["diffusion"] is DiffusionSettings
    assert {name: kind.recipe for name, kind in RECIPES.items()} == {"tvunet": "tvunet", "diffusion": "diffusion"}


def test_a_missing_package_is_told(monkeypatch):
    from monai.networks.nets import diffusion_model_unet
    from monai.utils.module import OptionalImportError

    def missing(*arguments, **options):
        raise OptionalImportError("No module named 'einops'")

    monkeypatch.setattr(diffusion_model_unet, "DiffusionModelUNet", missing)
    with pytest.raises(ModelUnavailableError, match=r"pip install napari-voxelsmith\[diffusion\]"):
        DiffusionNet()
