"""Prototypes: pooling, purity, order, the scale, the threshold and the alignment."""

import math

import pytest
import torch

from voxelsmith.models.prototype import (
    AnomalyThreshold,
    Prototypes,
    aligned_scores,
    alignment_loss,
    class_scores,
    farthest_points,
    gathered,
    global_prototype,
    likeness,
    local_prototypes,
    masked_average,
    self_consistency,
)


def halves(*grid, shots=1):
    """Features that point along (1, 0) in the first half of the first axis and along (0, 1) in the other."""
    features = torch.zeros(shots, 2, *grid)
    features[:, 0, : grid[0] // 2], features[:, 1, grid[0] // 2 :] = 1, 1
    labels = torch.zeros(shots, *grid, dtype=torch.long)
    labels[:, : grid[0] // 2] = 1
    return features, labels


@pytest.mark.parametrize("grid", [(4, 6), (4, 6, 2)])
def test_masked_average_is_the_mean_inside_the_mask(grid):
    features = torch.arange(2 * math.prod(grid), dtype=torch.float32).reshape(1, 2, *grid)
    mask = torch.zeros(1, *grid, dtype=torch.bool)
    mask[0, 1, 2:4] = True
    expected = torch.stack([channel[mask[0]].mean() for channel in features[0]])
    torch.testing.assert_close(masked_average(features, mask)[0], expected, rtol=1e-4, atol=0)


def test_features_are_brought_to_the_resolution_of_the_mask():
    features = torch.tensor([[[[0.0, 1.0]]]])
    mask = torch.zeros(1, 4, 8)
    mask[..., 7] = 1
    # Pooling the mask instead would mix in nothing either, but a mask of column 3 lies between the two positions.
    between = torch.zeros(1, 4, 8)
    between[..., 3] = 1
    assert float(masked_average(features, mask)) == pytest.approx(1, abs=1e-4)
    assert float(masked_average(features, between)) == pytest.approx(0.375, abs=1e-4)


def test_an_empty_mask_averages_to_zero_and_makes_no_prototype():
    features, labels = halves(4, 4)
    empty = torch.zeros_like(labels)
    assert not masked_average(features, empty).any()
    assert len(global_prototype(features, empty)) == 0
    assert len(local_prototypes(features, empty)) == 0


def test_the_global_prototype_leaves_out_shots_without_the_class():
    features, labels = halves(4, 4, shots=2)
    features[1] = 7
    labels[1] = 0
    torch.testing.assert_close(
        global_prototype(features, labels == 1).vectors, torch.tensor([[1.0, 0.0]]), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(("holes", "pure"), [(0, True), (3, True), (4, False)])
def test_a_cell_needs_a_purity_above_95_percent(holes, pure):
    features = torch.rand(1, 3, 8, 8)
    mask = torch.zeros(1, 8, 8)
    mask[:, :, :] = 1
    flat = mask.view(-1)
    flat[:holes] = 0
    found = local_prototypes(features, mask, window=8, with_global=False)
    torch.testing.assert_close(found.vectors, features.mean((2, 3)) if pure else masked_average(features, mask))


def test_without_a_pure_cell_the_global_prototype_stands_in():
    features, _ = halves(4, 4)
    thin = torch.zeros(1, 4, 4)
    thin[0, 0, 0] = 1
    for with_global in (True, False):
        found = local_prototypes(features, thin, with_global=with_global)
        torch.testing.assert_close(found.vectors, global_prototype(features, thin).vectors)


@pytest.mark.parametrize("grid", [(8, 4), (8, 4, 3)])
def test_one_prototype_a_pure_cell_with_its_place(grid):
    features, labels = halves(*grid)
    places = torch.stack(torch.meshgrid(*(torch.arange(n).float() for n in grid), indexing="ij"))[None]
    window = (2, 2, 3)[: len(grid)]
    found = local_prototypes(features, labels == 1, window, with_global=False, places=places)
    assert len(found) == 4
    assert sorted(found.places[:, 0].tolist()) == [0.5, 0.5, 2.5, 2.5]
    with_global = local_prototypes(features, labels == 1, window, places=places)
    assert len(with_global) == 5
    torch.testing.assert_close(with_global.places[-1], found.places.mean(0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shots", [1, 3, 10])
def test_the_order_of_the_shots_does_not_matter(shots):
    torch.manual_seed(0)
    features, labels = torch.rand(shots, 5, 8, 8), torch.zeros(shots, 8, 8)
    labels[:, :5, :6] = 1
    order = torch.randperm(shots)
    query = torch.rand(1, 5, 4, 4)
    scores = [
        class_scores(query, [gathered([local_prototypes(f[n : n + 1], m[n : n + 1]) for n in range(shots)])])
        for f, m in ((features, labels), (features[order], labels[order]))
    ]
    torch.testing.assert_close(*scores)


def test_a_shot_adds_its_prototypes_instead_of_averaging_them():
    one, other = Prototypes(torch.tensor([[1.0, 0.0]])), Prototypes(torch.tensor([[0.0, 1.0]]))
    query = torch.eye(2)
    assert likeness(query, gathered([one, other])).tolist() == pytest.approx([20, 20], abs=1e-4)


def test_the_score_is_20_times_the_cosine_whatever_the_length():
    prototype = Prototypes(torch.tensor([[3.0, 0.0]]))
    query = torch.tensor([[0.1, 0.0], [0.0, 5.0], [1.0, 1.0]])
    assert likeness(query, prototype).tolist() == pytest.approx([20, 0, 20 / math.sqrt(2)], abs=1e-4)


def test_the_soft_maximum_lies_between_mean_and_maximum():
    prototypes = Prototypes(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    query = torch.tensor([[1.0, 0.9]])
    cosines = torch.nn.functional.normalize(query)[0] * 20
    expected = float((cosines.softmax(0) * cosines).sum())
    assert float(likeness(query, prototypes)) == pytest.approx(expected, rel=1e-5)
    assert float(cosines.mean()) < expected < float(cosines.max())


def test_classes_keep_their_order_and_an_absent_one_never_wins():
    features, labels = halves(4, 4)
    classes = [global_prototype(features, labels == n) for n in (0, 1, 2)]
    probability = class_scores(features, classes).softmax(1)
    assert torch.equal(probability.argmax(1), labels)
    assert not probability[:, 2].any()


def test_the_position_prior_decides_between_alike_classes():
    vectors = torch.tensor([[1.0, 0.0]])
    left, right = (Prototypes(vectors, torch.tensor([[x]])) for x in (0.0, 10.0))
    query, places = torch.ones(1, 2, 1, 2), torch.tensor([[[[1.0, 8.0]]]])
    assert class_scores(query, [left, right], places, spread=2).argmax(1).flatten().tolist() == [0, 1]
    loss = likeness(torch.tensor([[1.0, 0.0]]), left, torch.tensor([[3.0]]), spread=2.0)
    assert float(loss) == pytest.approx(20 - 9 / 8)


def test_farthest_points_cover_the_clusters_first():
    points = torch.cat([torch.zeros(50, 2), torch.tensor([[9.0, 0], [0, 9.0]])]) + 0.01 * torch.arange(52)[:, None]
    assert {50, 51} < set(farthest_points(points, 3).tolist())
    assert farthest_points(points, 100).tolist() == list(range(52))
    many = gathered([Prototypes(torch.rand(700, 4)), Prototypes(torch.rand(700, 4))])
    assert len(many) == 600


def test_the_anomaly_threshold_closes_and_opens():
    features, labels = halves(4, 4)
    prototype = global_prototype(features, labels == 1)
    closed, open_ = (AnomalyThreshold(start)(features, prototype) for start in (-60.0, 60.0))
    assert not (closed > 0.5).any()
    assert (open_ > 0.5).all()
    usual = AnomalyThreshold()(features, prototype)
    assert torch.equal((usual > 0.5).long(), labels)
    assert AnomalyThreshold(-10.0).tightness().item() == pytest.approx(-0.5)


def test_a_threshold_at_either_end_of_the_cosine_leaves_nothing_or_all():
    features, labels = halves(4, 4)
    noisy = features + 0.1
    prototype = global_prototype(features, labels == 1)
    assert not (AnomalyThreshold(-20.0)(noisy, prototype) > 0.5).any()
    assert (AnomalyThreshold(20.0)(noisy, prototype) >= 0.5).all()


def test_alignment_punishes_an_answer_that_does_not_lead_back():
    features, labels = halves(8, 8)
    right = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    good = alignment_loss(features, right, features, labels)
    bad = alignment_loss(features, right.flip(1), features, labels)
    assert float(good) < 1e-3 < 1 < float(bad)


def test_alignment_skips_what_the_answer_lacks():
    features, labels = halves(8, 8)
    nothing = torch.zeros(1, 2, 8, 8)
    nothing[:, 0] = 1
    assert float(alignment_loss(features, nothing, features, torch.ones_like(labels))) == 0
    assert (aligned_scores(features, torch.zeros_like(labels), features, 2)[:, 1] < -1e20).all()


def test_self_consistency_is_the_dice_of_the_support_segmented_back():
    features, labels = halves(8, 8)
    assert self_consistency(features, labels, features, labels, 3)[0].item() == pytest.approx(1)
    assert self_consistency(features, labels, features, labels, 3)[1].isnan()
    assert self_consistency(features, 1 - labels, features, labels, 2).item() < 0.1


def test_gradients_reach_the_features_through_prototypes_and_alignment():
    features, labels = halves(8, 8)
    learned = (features + 0.1 * torch.rand_like(features)).requires_grad_()
    scores = class_scores(learned, [local_prototypes(learned, labels == n, with_global=n > 0) for n in (0, 1)])
    (torch.nn.functional.cross_entropy(scores, labels) + alignment_loss(learned, scores, learned, labels)).backward()
    assert torch.isfinite(learned.grad).all()
    assert learned.grad.abs().sum() > 0
