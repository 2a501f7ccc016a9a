"""Few-shot: which engine is chosen, and that each one is reached."""

import numpy as np
import pytest
from bodies import body, support_of
from scipy import ndimage

from voxelsmith.core.errors import InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.segment.features import HandMadeEncoder
from voxelsmith.segment.fewshot import ENGINES, FewShotRequest, choose, on_query, propose
from voxelsmith.segment.proposal import PROPAGATION, PROTOTYPES, SAME_VOLUME


def cropped(pair, slices):
    image, labels = pair
    affine = image.affine.shifted((0, 0, slices.start))
    return Volume(image.array[..., slices], affine), LabelVolume(labels.array[..., slices], affine)


def test_slices_painted_on_the_query_come_first():
    image, labels = body(0)
    support = support_of(body(1)).add(SupportExample(image, labels, axis=2, slices=(4, 7)))
    assert choose(image, support).engine == SAME_VOLUME
    copy = Volume(image.array.copy(), image.affine)
    assert on_query(copy, support.examples[1])
    assert not on_query(copy, support.examples[0])


def textured(image, labels):
    texture = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=image.grid), 1.5)
    return Volume((1000 * texture).astype(np.float32), image.affine), labels


def test_whole_volumes_that_show_the_same_are_registered_and_so_are_parts_of_them():
    query = body(5)[0]
    for support in (support_of(body(0), body(1)), support_of(cropped(body(0), slice(3, 9)))):
        choice = choose(query, support)
        assert choice.engine == PROPAGATION
        assert "registration" in choice.reason


def test_half_of_the_examples_are_enough():
    query = body(5)[0]
    other = textured(*body(1))
    assert choose(query, support_of(body(0), other)).engine == PROPAGATION
    assert choose(query, support_of(body(0), other, textured(*body(2)))).engine == PROTOTYPES


def test_another_part_of_the_body_or_single_slices_call_for_prototypes():
    query = body(5)[0]
    choice = choose(query, support_of(textured(*body(0))))
    assert choice.engine == PROTOTYPES
    assert "unlike" in choice.reason
    assert choose(query, support_of(body(0), axis=2, slices=(6,))).engine == PROTOTYPES
    assert choose(query, support_of(body(0)), known_range=(2, 7)).engine == PROTOTYPES


def test_an_example_that_is_switched_off_does_not_count():
    image, labels = body(0)
    support = support_of(body(1)).add(SupportExample(image, labels, axis=2, slices=(4, 7)))
    off = support.switch(support.examples[1].content_hash, False)
    assert choose(image, off).engine == PROPAGATION


def test_every_reason_is_one_sentence():
    image, labels = body(0)
    supports = [support_of((image, labels)), support_of(body(1)), support_of(body(1), axis=2, slices=(6,))]
    for support in supports:
        reason = choose(image, support).reason
        assert reason.endswith(".")
        assert reason.count(".") == 1


@pytest.mark.parametrize("engine", list(ENGINES))
def test_every_engine_answers_by_its_name(engine):
    query, truth = body(5)
    if engine == SAME_VOLUME:
        support = SupportSet().add(SupportExample(query, truth, axis=2, slices=tuple(range(2, 11, 2))))
    else:
        support = support_of(body(0))
    found = run_job(propose(FewShotRequest(query, support, engine, encoder=HandMadeEncoder())))
    assert found.provenance.engine == engine
    assert dice(truth.mask(1), found.labels.mask(1)) > 0.7


def test_automatic_takes_the_chosen_one():
    query, _ = body(5)
    assert run_job(propose(FewShotRequest(query, support_of(body(0))))).provenance.engine == PROPAGATION


def test_an_unknown_engine_and_an_empty_support_are_refused():
    query, labels = body(5)
    with pytest.raises(InputError, match="automatic, same-volume"):
        run_job(propose(FewShotRequest(query, support_of((query, labels)), "magic")))
    blank = support_of((query, query.labels(np.zeros(query.grid, np.uint8))), classes=frozenset({1}))
    with pytest.raises(InputError, match="something painted"):
        choose(query, blank)
