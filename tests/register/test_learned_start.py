"""A learned start: the network sees the images as it expects them, and its answer comes back where it belongs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deformations import oblique
from registration_pairs import blobs, known_map, moved, tilted
from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError
from voxelsmith.core.progress import run_job
from voxelsmith.models.hvit import Architecture, HViT
from voxelsmith.register import learned
from voxelsmith.register.deformable import DeformableSettings
from voxelsmith.register.learned import View, begun, learned_start, load_network, save_network
from voxelsmith.register.pipeline import register
from voxelsmith.register.problem import Problem
from voxelsmith.register.request import AffineSettings, RegistrationRequest, RegistrationSettings

TINY = Architecture(start_channels=4, fpn_channels=8, num_stages=3, heads=2, refined=False)
GRID = (26, 21, 17)
AXES = [(0, 1, 2), (2, 0, 1), (1, 2, 0)]


class Known(nn.Module):
    """Answers with vectors that are known, and keeps what it was shown."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.seen = answer, []

    def forward(self, moving, fixed):
        self.seen.append((moving, fixed))
        index = torch.stack(torch.meshgrid(*map(torch.arange, moving.shape[2:]), indexing="ij")).float()
        return moving, self.answer(index)[None]


def network(seed=0, head=True, architecture=TINY):
    """Random weights; its head sees something unless it is set to nothing."""
    torch.manual_seed(seed)
    net = HViT(architecture).eval()
    nn.init.normal_(net.reg_head.conv3d.weight, std=0.05 if head else 0)
    return net


def texture(seed, grid=GRID):
    return np.random.default_rng(seed).random(grid).astype(np.float32)


def problem(affine, fixed=None, moving=None):
    i, j, k = affine.spacing.tolist()
    return Problem(texture(0) if fixed is None else fixed, texture(1) if moving is None else moving, (i, j, k))


def tilted_grid(axes=(0, 1, 2), flip=(1, 1, 1)):
    """Oblique and of unequal voxels, with its axes in any order and direction."""
    matrix = oblique(spacing=(0.8, 1.3, 2.1), flip=flip).matrix.copy()
    matrix[:3, :3] = matrix[:3, list(axes)]
    return Affine(matrix)


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("axes", AXES)
def test_a_known_answer_is_that_field_in_millimetres(axes, flip):
    affine = tilted_grid(axes, flip)
    given = problem(affine)
    shift, growth = torch.tensor([1.5, -0.7, 0.4]), torch.tensor([0.05, -0.03, 0.02])

    def answer(index):
        return shift.reshape(3, 1, 1, 1) + growth.reshape(3, 1, 1, 1) * index

    known = Known(answer)
    start = learned_start(given, affine, known)
    assert start.dtype == np.float32
    field = DisplacementField.from_voxels(np.moveaxis(start, 0, -1), affine)
    view = View.of(given, affine)
    counts = known.seen[0][0].shape[2:]
    expected = np.zeros((*GRID, 3))
    for world in range(3):
        axis = affine.closest_axes.index(world)
        way = affine.direction[:, axis] * np.sign(affine.direction[world, axis])
        size = GRID[axis] * affine.spacing[axis] / counts[world]
        assert size == pytest.approx(view.spacing, rel=0.05)
        place = (np.arange(GRID[axis]) + 0.5) / GRID[axis] * counts[world] - 0.5
        place = place if affine.direction[world, axis] > 0 else place[::-1]
        length = (float(shift[world]) + float(growth[world]) * place) * size
        expected += length.reshape([-1 if a == axis else 1 for a in range(3)])[..., None] * way
    inner = (slice(3, -3),) * 3
    np.testing.assert_allclose(field.array[inner], expected[inner], atol=2e-3)


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("axes", AXES)
def test_the_network_sees_right_anterior_superior_and_the_moving_image_first(axes, flip):
    affine = tilted_grid(axes, flip)
    places = np.moveaxis(affine.apply(np.stack(np.indices(GRID), -1)), -1, 0)
    along = [affine.direction[:, affine.closest_axes.index(w)] for w in range(3)]
    along = np.stack([a * np.sign(a[w]) for w, a in enumerate(along)])
    heights = np.einsum("wb,bijk->wijk", along, places).astype(np.float32)
    for world, height in enumerate(heights):
        known = Known(torch.zeros_like)
        learned_start(problem(affine, fixed=height, moving=2 * height), affine, known)
        moving, fixed = (x[0, 0].numpy() for x in known.seen[0])
        steps = np.diff(fixed, axis=world)
        assert steps.min() > 0
        for other in {0, 1, 2} - {world}:
            assert np.abs(np.diff(fixed, axis=other)).max() < 0.02 * steps.max()
        np.testing.assert_allclose(moving, 2 * fixed, rtol=1e-4, atol=1e-3)


def test_a_head_of_zeros_gives_no_displacement():
    affine = tilted_grid()
    start = learned_start(problem(affine), affine, network(head=False))
    assert start.shape == (3, *GRID)
    assert not start.any()


def test_two_runs_are_alike_bit_for_bit_and_the_images_matter():
    affine = tilted_grid()
    one, same = (learned_start(problem(affine), affine, network()) for _ in range(2))
    assert one.any()
    assert np.array_equal(one, same)
    assert not np.array_equal(one, learned_start(problem(affine, moving=texture(5)), affine, network()))


def test_a_problem_turned_round_has_the_same_answer_turned_round():
    plain = Affine.from_spacing((1, 1, 1))
    turned = Affine(np.array([[0, 0, -1, 16], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]]))
    fixed, moving = texture(0, (24, 20, 17)), texture(1, (24, 20, 17))
    expected = learned_start(problem(plain, fixed, moving), plain, network())
    images = [np.ascontiguousarray(image.transpose(2, 1, 0)[:, :, ::-1]) for image in (fixed, moving)]
    found = learned_start(problem(turned, *images), turned, network())
    there = np.stack([found[2] * -1, found[1], found[0]])[:, :, :, ::-1].transpose(0, 3, 2, 1)
    np.testing.assert_allclose(there, expected, atol=1e-5)


def test_large_images_are_seen_small_and_emptiness_not_at_all(monkeypatch):
    monkeypatch.setattr(learned, "_MOST_VOXELS", 600)
    affine = Affine.from_spacing((1, 1, 1))
    fixed = np.zeros((40, 30, 30), np.float32)
    fixed[12:32, 10:20, 10:20] = texture(0, (20, 10, 10)) + 1
    known = Known(lambda index: torch.ones_like(index))
    start = learned_start(problem(affine, fixed, np.roll(fixed, 1, 0)), affine, known)
    seen = known.seen[0][1]
    assert 400 < seen.numel() < 800
    # Twenty-one occupied voxels with four of margin on either side, and ten with as much.
    assert seen.shape[2] / seen.shape[3] == pytest.approx(29 / 18, rel=0.1)
    size = (29 * 18 * 18 / 600) ** (1 / 3)
    assert start.shape == (3, 40, 30, 30)
    np.testing.assert_allclose(start, size, rtol=0.05)


def test_levels_coarser_than_the_answer_are_left_out(monkeypatch):
    monkeypatch.setattr(learned, "_MOST_VOXELS", 130_000)
    affine = Affine.from_spacing((1, 1, 1))
    given = problem(affine, texture(0, (64, 64, 64)), texture(1, (64, 64, 64)))
    spacing = View.of(given, affine).spacing
    assert 1.2 < spacing < 1.3
    for shrinks, kept in (((8, 4, 2, 1), (2, 1)), ((), (2, 1)), ((8, 4), (4,))):
        started, settings = begun(given, affine, DeformableSettings(shrinks=shrinks, window=7), network())
        assert settings == DeformableSettings(shrinks=kept, window=7)
        assert started.start.any()
        assert started.fixed is given.fixed


def test_weights_come_back_from_a_file_or_a_run_folder(tmp_path):
    velocity = replace(TINY, velocity_steps=4, query_layout="official")
    net = network(3, architecture=velocity)
    save_network(velocity, net.state_dict(), tmp_path / learned.WEIGHTS, {"step": "9"})
    for source in (tmp_path, str(tmp_path / learned.WEIGHTS)):
        loaded = load_network(source)
        assert loaded.architecture == velocity
        assert not loaded.training
        torch.testing.assert_close(loaded.state_dict(), net.state_dict(), rtol=1e-3, atol=1e-6)


def test_files_that_are_no_weights_end_with_a_sentence(tmp_path):
    for nothing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(ModelUnavailableError, match="there is none; name one"):
            load_network(nothing)
    text = tmp_path / "notes.txt"
    text.write_text("weights", encoding="utf-8")
    stranger = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(2)}, stranger)
    odd = tmp_path / "odd.safetensors"
    save_file({"x": torch.zeros(2)}, odd, {"architecture": '{"heads": 3}'})
    for file in (text, stranger, odd):
        with pytest.raises(FormatError, match="does not say of which network"):
            load_network(file)
    other = tmp_path / "larger.safetensors"
    save_network(replace(TINY, fpn_channels=16), network().state_dict(), other, {})
    with pytest.raises(FormatError, match="has other shapes"):
        load_network(other)
    with pytest.raises(InputError, match="drop one of the two"):
        RegistrationSettings(weights=other)


@pytest.fixture(scope="module")
def request_():
    fixed = blobs(affine=tilted())
    moving = moved(fixed, known_map(fixed, 5, scale=(1.05, 0.97, 1)))
    settings = RegistrationSettings(AffineSettings(model="none"), DeformableSettings(shrinks=(2,), iterations=8), "cpu")
    return RegistrationRequest(fixed, moving, settings=settings)


def test_a_registration_starts_from_the_answer_and_improves_it(request_, tmp_path):
    save_network(TINY, network().state_dict(), tmp_path / "net.safetensors", {})

    def run(iterations):
        deformable = replace(request_.settings.deformable, iterations=iterations)
        settings = replace(request_.settings, deformable=deformable, weights=tmp_path / "net.safetensors")
        return run_job(register(replace(request_, settings=settings)))

    alone, finished, again = run(0), run(8), run(8)
    assert np.abs(alone.transform.field.array).max() > 0.05
    assert finished.measures.similarity_after > alone.measures.similarity_after
    assert np.array_equal(finished.transform.field.array, again.transform.field.array)


def test_an_answer_of_zeros_changes_nothing(request_, tmp_path):
    save_network(TINY, network(head=False).state_dict(), tmp_path / "net.safetensors", {})
    settings = replace(request_.settings, weights=tmp_path / "net.safetensors")
    plain, started = (run_job(register(r)) for r in (request_, replace(request_, settings=settings)))
    assert np.array_equal(plain.transform.field.array, started.transform.field.array)


def test_missing_weights_are_told_before_anything_is_computed(request_, tmp_path):
    job = register(replace(request_, settings=replace(request_.settings, weights=tmp_path / "gone")))
    with pytest.raises(ModelUnavailableError):
        next(job)
