"""Few-shot across volumes: what is found, where it lands, and what the user is told."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from bodies import GRID, body, support_of
from scipy import ndimage

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.resample import reorient, resample_to_spacing
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import Volume
from voxelsmith.segment import across_volumes, chunk_protocol, prototype_bank
from voxelsmith.segment.across_volumes import AcrossRequest, AcrossSettings, propose, spread_of
from voxelsmith.segment.common_grid import sliced_example, sliced_query
from voxelsmith.segment.features import HandMadeEncoder
from voxelsmith.segment.proposal import PROTOTYPES
from voxelsmith.segment.rival import Rival

ENCODER = HandMadeEncoder(scales=(1.0, 2.0), structured=())


def proposal(query, support, known_range=None, **settings):
    chosen = AcrossSettings(**{"alignment": "slices", "per_slice": 60, "most": 200} | settings)
    return run_job(propose(AcrossRequest(query, support, ENCODER, known_range, chosen)))


def overlaps(found, truth):
    return [dice(truth.mask(value), found.labels.mask(value)) for value in (1, 2)]


@pytest.fixture(scope="module")
def usual():
    query, truth = body(5, shift=(2, -1, 1))
    support = support_of(body(0))
    return query, truth, support, proposal(query, support)


def test_both_organs_are_found_on_the_querys_own_grid(usual):
    query, truth, support, found = usual
    assert min(overlaps(found, truth)) > 0.8
    assert query.same_grid(found.labels)
    assert found.classes == (1, 2)
    assert found.probabilities.shape == (2, *GRID)
    assert found.probabilities.dtype == np.float16
    assert float(found.probabilities.astype(np.float32).sum(0).max()) <= 1.01
    assert found.provenance.engine == PROTOTYPES
    assert found.provenance.image == query.fingerprint()
    assert found.provenance.support == tuple(e.content_hash for e in support.examples)


def test_two_runs_give_the_same(usual):
    query, _, support, found = usual
    again = proposal(query, support)
    np.testing.assert_array_equal(found.probabilities, again.probabilities)
    np.testing.assert_array_equal(found.confidence, again.confidence)


def test_local_prototypes_keep_apart_the_tissues_that_a_global_one_averages():
    (query, truth), (image, labels) = body(5), body(0)
    both = image.labels((labels.array != 0).astype(np.uint8))
    found = [
        proposal(query, support_of((image, both)), prototypes=kind, position=False) for kind in ("global", "local")
    ]
    scores = [dice(truth.mask(), p.labels.mask()) for p in found]
    assert scores[1] > scores[0] + 0.05


def test_places_tell_apart_organs_that_look_the_same():
    (query, truth), (image, labels) = body(5), body(0)
    query, image = (replace(v, array=v.array + 140 * t.mask(2)) for v, t in ((query, truth), (image, labels)))
    one = image.labels((labels.array == 1).astype(np.uint8))
    found = [proposal(query, support_of((image, one)), position=position) for position in (False, True)]
    mistaken = [p.labels.mask(1)[truth.mask(2)].mean() for p in found]
    assert mistaken[0] > 0.1
    assert mistaken[1] == 0


@pytest.mark.parametrize("alignment", ["affine", "deformable", "slices"])
def test_every_alignment_places_the_support(usual, alignment):
    query, truth, support, _ = usual
    found = proposal(query, support, alignment=alignment)
    assert min(overlaps(found, truth)) > 0.75
    said = "matching its slices" if alignment == "slices" else f"{alignment} registration"
    assert any(said in note for note in found.notes)


def test_support_of_another_orientation_and_spacing_is_resampled_knowingly(usual):
    query, truth, support, _ = usual
    example = support.examples[0]
    image, labels = (resample_to_spacing(reorient(v, "LPI"), (2.5, 2.5, 4.0)) for v in (example.image, example.labels))
    found = proposal(query, support_of((image, labels)))
    assert min(overlaps(found, truth)) > 0.6
    assert query.same_grid(found.labels)
    assert any("LPI" in note for note in found.notes)
    assert any("2.5 x 2.5 x 4 mm" in note for note in found.notes)


def test_the_order_of_the_examples_does_not_matter():
    query, truth = body(5)
    pairs = [body(seed) for seed in (1, 2)]
    one, other = (proposal(query, support_of(*p), per_slice=5000, most=5000) for p in (pairs, pairs[::-1]))
    assert min(overlaps(one, truth)) > 0.8
    assert np.mean(one.labels.array == other.labels.array) > 0.999


def test_painted_slices_of_another_volume_are_enough(usual):
    query, truth, support, _ = usual
    image, labels = support.examples[0].image, support.examples[0].labels
    found = proposal(query, support_of((image, labels), axis=2, slices=(3, 5, 7, 9)))
    assert found.axis == 2
    assert min(overlaps(found, truth)) > 0.5


def test_slices_follow_the_axis_that_was_painted():
    image, labels = body(0)
    found = proposal(body(5)[0], support_of((image, labels), axis=0, slices=tuple(range(4, 26, 3))))
    assert found.axis == 0
    assert found.confidence.shape == (GRID[0],)


def test_examples_of_different_axes_are_refused():
    image, labels = body(0)
    support = SupportSet().add(SupportExample(image, labels, axis=0, slices=(10,)))
    support = support.add(SupportExample(image, labels, axis=2, slices=(6,)))
    with pytest.raises(InputError, match="different axes"):
        proposal(body(5)[0], support)


def test_what_an_example_did_not_look_for_is_no_background_in_it():
    query, truth = body(5)
    (image, labels), (second, both) = body(1), body(2)
    lacking = image.labels(np.where(labels.array == 1, 1, 0).astype(np.uint8))
    support = support_of((image, lacking), (second, both))
    assert overlaps(proposal(query, support), truth)[1] > 0.7


def test_a_class_that_no_example_shows_is_never_proposed(usual):
    query, truth, support, _ = usual
    found = proposal(query, support.describe(7, "absent"))
    assert found.classes == (1, 2, 7)
    assert not found.probabilities[2].any()
    assert min(overlaps(found, truth)) > 0.8


def test_the_users_range_wins(usual):
    query, _, support, found = usual
    used = np.flatnonzero(found.labels.array.any((0, 1)))
    moved = proposal(query, support, known_range=(0, 3))
    there = np.flatnonzero(moved.labels.array.any((0, 1)))
    assert used.max() > 7
    assert there.max() <= 5
    assert any("range that you gave" in note for note in moved.notes)
    with pytest.raises(InputError, match="range of slices"):
        proposal(query, support, known_range=(4, 99))


def test_confidence_falls_where_the_query_is_spoilt(usual):
    query, _, support, found = usual
    array = query.array.copy()
    array[..., 5:7] = np.random.default_rng(3).normal(100, 60, (*GRID[:2], 2))
    spoilt = proposal(replace(query, array=array), support)
    assert found.confidence.min() >= 0
    assert found.confidence.max() <= 1
    assert spoilt.confidence[5:7].mean() < found.confidence[5:7].mean() - 0.05


def test_another_kind_of_image_is_warned_about(usual):
    query, _, support, found = usual
    inverted = replace(query, array=200 - query.array)
    assert any("looks unlike" in note for note in proposal(inverted, support).notes)
    assert not any("looks unlike" in note for note in found.notes)


@pytest.mark.parametrize("grid", [(30, 28, 1), (5, 4, 3)])
def test_queries_smaller_than_any_window_are_answered(usual, grid):
    query, _, support, _ = usual
    small = Volume(query.array[: grid[0], : grid[1], : grid[2]], query.affine)
    found = proposal(small, support)
    assert found.labels.grid == grid
    assert np.isfinite(found.probabilities).all()


def test_voxels_that_are_no_numbers_spoil_nothing(usual):
    query, truth, support, _ = usual
    array = query.array.copy()
    array[:3, :3, :3] = np.nan
    found = proposal(replace(query, array=array), support)
    assert np.isfinite(found.probabilities).all()
    assert min(overlaps(found, truth)) > 0.75


class Repeated:
    """An encoder whose channels come several times."""

    name = "repeated"

    def features(self, volume, slices, axis=2):
        return np.repeat(ENCODER.features(volume, slices, axis), 6, axis=0)


def test_channels_that_say_the_same_again_change_nothing(usual):
    query, _, support, found = usual
    settings = AcrossSettings(alignment="slices", per_slice=60, most=200)
    again = run_job(propose(AcrossRequest(query, support, Repeated(), settings=settings)))
    np.testing.assert_allclose(again.probabilities.astype(float), found.probabilities.astype(float), atol=0.01)


def textured(query):
    texture = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=GRID), 1.5)
    return replace(query, array=(1000 * texture).astype(np.float32))


def test_labels_as_they_lie_are_taken_where_they_explain_the_support_better(usual):
    query, _, support, _ = usual
    found = proposal(textured(query), support, alignment="auto", vague_spread=1.0)
    (why,) = [note for note in found.notes if "as they lie" in note]
    assert why.startswith("The labels of example 1 were taken over")
    labels = support.examples[0].labels
    assert min(dice(labels.mask(v), found.labels.mask(v)) for v in (1, 2)) > 0.9
    assert found.confidence.max() <= 1


def test_prototypes_are_kept_where_what_they_find_explains_the_support_better(monkeypatch):
    monkeypatch.setattr(across_volumes, "telling", lambda *_: False)
    query, truth = body(5, shift=(6, 0, 0))
    support = support_of(body(0))
    found = proposal(query, support, alignment="auto")
    (why,) = [note for note in found.notes if "as they lie" in note]
    assert why.startswith("Prototypes were preferred")
    lying = [dice(truth.mask(v), support.examples[0].labels.mask(v)) for v in (1, 2)]
    assert min(overlaps(found, truth)) > max(lying) + 0.1


def test_labels_can_only_be_taken_as_they_lie_if_all_of_them_are_there(usual):
    query, _, _, _ = usual
    other = textured(query)
    support = support_of(body(0), axis=2, slices=(4, 6))
    assert not any("as they lie" in note for note in proposal(other, support, alignment="auto").notes)
    whole = support_of(body(0))
    assert not any("as they lie" in note for note in proposal(other, whole, (2, 9), alignment="auto").notes)


def test_the_most_alike_example_is_laid_onto_the_query():
    (query, _), *others = (body(n) for n in (5, 0, 1))
    flat = Volume(np.zeros(GRID, np.float32), query.affine)
    support = support_of((flat, others[0][1]), others[1]).enabled
    target = sliced_query(query, 2, 2.0)
    rival = Rival(target, [sliced_example(e, query, 2, 2.0) for e in support], (1, 2))
    assert rival.number == 1
    marked = rival.plane(6).argmax(0)
    np.testing.assert_array_equal(marked, others[1][1].array[..., 6])
    empty = np.zeros((3, *GRID[:2]), np.float32)
    rival.compare(6, empty, (0.4, 0.3))
    assert not rival.wins
    rival.compare(5, empty, (0.0, 0.3))
    assert rival.wins
    assert "Dice 0.30 against" in rival.told


def test_places_count_little_where_query_and_support_have_nothing_in_common(usual):
    query, _, _, found = usual
    other = textured(query)
    support = support_of(body(0), axis=2, slices=tuple(range(GRID[2])))
    vague, narrow = (proposal(other, support, alignment="auto", vague_spread=spread) for spread in (1.0, 0.2))
    for note in ("Places counted little", "centres of the images"):
        assert any(note in told for told in vague.notes)
        assert not any(note in told for told in found.notes)
    labels = support.examples[0].labels
    beyond = ndimage.distance_transform_edt(labels.array == 0, sampling=(2, 2, 4)) > 6
    assert vague.labels.array[beyond].any()
    assert np.count_nonzero(narrow.labels.array[beyond]) < 0.5 * np.count_nonzero(vague.labels.array[beyond])


def test_a_slice_where_an_organ_ends_is_not_written_off(usual, monkeypatch):
    query, _, support, found = usual
    # With one annotated slice to look at there is no telling that an organ ends.
    monkeypatch.setattr(prototype_bank, "_AROUND", 1)
    strict = proposal(query, support)
    ends = np.flatnonzero(strict.confidence != found.confidence)
    assert len(ends)
    assert (found.confidence[ends] > strict.confidence[ends]).all()
    assert found.confidence[ends].min() > 0.2


def test_wrong_input_gets_a_sentence():
    query, labels = body(0)
    blank = support_of((query, query.labels(np.zeros(GRID, np.uint8))), classes=frozenset({1}))
    with pytest.raises(InputError, match="something painted"):
        proposal(query, blank)
    series = Volume(np.zeros((*GRID, 2), np.float32), query.affine, extra_axis="time")
    with pytest.raises(InputError, match="one 3-D image"):
        proposal(series, support_of((query, labels)))


def test_slices_of_one_image_are_placed_once(usual, monkeypatch):
    query, _, _, _ = usual
    image, labels = body(0)
    placed = []

    def counted(*arguments):
        placed.append(arguments)
        return (yield from genuine(*arguments))

    genuine = across_volumes.place
    monkeypatch.setattr(across_volumes, "place", counted)
    support = SupportSet()
    for n in (4, 6, 8):
        support = support.add(SupportExample(image, labels, 2, (n,)))
    support = support.add(SupportExample(*body(1)))
    assert len([note for note in proposal(query, support).notes if "was placed" in note]) == 4
    assert len(placed) == 2


def test_the_slice_in_view_is_answered_before_the_others(usual):
    query, _, support, found = usual
    settings = AcrossSettings(alignment="slices", per_slice=60, most=200)
    seen = []
    request = AcrossRequest(query, support, ENCODER, settings=settings, view=7)
    whole = run_job(propose(request), seen.append)
    (shown,) = [n for n, progress in enumerate(seen) if progress.partial is not None]
    slices = [n for n, progress in enumerate(seen) if progress.message.startswith("Segmented")]
    assert shown == slices[0]
    assert len(slices) == GRID[2]
    look = seen[shown].partial
    assert (look.axis, look.index, look.refined) == (2, 7, True)
    # Slices are blurred into each other in the end, so outlines may differ.
    assert (look.labels == whole.labels.array[..., 7]).mean() > 0.95
    assert look.labels.any()
    np.testing.assert_array_equal(whole.labels.array, found.labels.array)
    np.testing.assert_array_equal(whole.confidence, found.confidence)


def test_a_job_reports_every_slice_and_can_be_stopped(usual):
    query, _, support, _ = usual
    job = propose(AcrossRequest(query, support, ENCODER))
    seen = [next(job) for _ in range(20)]
    assert all(0 <= a.done <= b.done <= 100 for a, b in pairwise(seen))
    job.close()
    with pytest.raises(StopIteration):
        next(job)


def test_the_spread_follows_the_size_of_the_organs_not_the_number_of_slices():
    image, labels = body(0)
    whole = support_of((image, labels)).examples
    some = support_of((image, labels), axis=2, slices=tuple(range(0, 12, 2))).examples
    assert spread_of(whole, 0.2) == pytest.approx(spread_of(some, 0.2), rel=0.1)
    assert spread_of(whole, 0.4) == pytest.approx(2 * spread_of(whole, 0.2))
    one_by_one = [e for n in range(0, 12, 2) for e in support_of((image, labels), axis=2, slices=(n,)).examples]
    assert spread_of(one_by_one, 0.2) == pytest.approx(spread_of(some, 0.2))


def test_the_chunk_protocol_stays_in_the_known_range(usual):
    query, truth, support, _ = usual
    found = run_job(chunk_protocol.evaluate(query, truth, support.examples[0], ENCODER))
    for value in (1, 2):
        slices = np.flatnonzero((found == value).any((0, 1)))
        known = np.flatnonzero(truth.mask(value).any((0, 1)))
        assert known.min() <= slices.min()
        assert slices.max() <= known.max()
    assert dice(truth.mask(1), found == 1) > 0.5
