"""Networks trained on episodes as few-shot engines: where they look, what they answer, which runs there are."""

import numpy as np
import pytest
import torch
from bodies import body, support_of

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import run_job
from voxelsmith.segment import episodic
from voxelsmith.segment.conditional_volume import ConditionalRequest
from voxelsmith.segment.conditional_volume import propose as condition
from voxelsmith.segment.episodic_runs import episodic_runs, read_episodic_run
from voxelsmith.segment.fewshot import AUTOMATIC, FewShotRequest, choose, propose
from voxelsmith.segment.proposal import CONDITIONAL, PROTOTYPES, SAME_VOLUME


class Likeness(torch.nn.Module):
    """Instead of a conditional network: a pixel is of the class if it is about as bright as the class in the shots."""

    def __init__(self):
        super().__init__()
        self.width = torch.nn.Parameter(torch.tensor(0.08))
        self.shots = []

    def forward(self, query, images, masks):
        self.shots.append(masks.shape[1])
        mean = (images * masks).sum((1, 2, 3)) / masks.sum((1, 2, 3)).clamp(min=1e-6)
        score = 6 - 6 * ((query[:, 0] - mean[:, None, None]).abs() / self.width)
        return torch.stack([torch.zeros_like(score), score], 1)


def run_of(folder, method):
    """A run folder with an untrained network."""
    folder.mkdir()
    torch.manual_seed(0)
    episodic.save_network(method, episodic.made(method).state_dict(), folder / episodic.WEIGHTS, {})
    return folder


@pytest.fixture(scope="module")
def answered():
    query, truth = body(5, shift=(2, -1, 1))
    network = Likeness()
    support = support_of(body(0), body(1))
    return query, truth, support, network, run_job(condition(ConditionalRequest(query, support, network, "toy")))


def test_each_class_is_found_by_what_the_shots_show(answered):
    query, truth, support, network, found = answered
    assert dice(truth.mask(1), found.labels.mask(1)) > 0.6
    # The rim of the body is as dark as the second organ.
    assert dice(truth.mask(2), found.labels.mask(2)) > 0.4
    assert query.same_grid(found.labels)
    assert found.probabilities.shape == (2, *query.grid)
    assert float(found.probabilities.astype(np.float32).sum(0).max()) <= 1.01
    assert found.provenance.engine == CONDITIONAL
    assert found.provenance.support == tuple(e.content_hash for e in support.examples)
    assert set(network.shots) == {3}
    assert found.confidence.shape == (query.grid[2],)


def test_nothing_is_looked_for_far_beyond_the_annotated_range(answered):
    query, _, _, _, _ = answered
    image, labels = body(0)
    found = run_job(condition(ConditionalRequest(query, support_of((image, labels)), Likeness(), "toy", (2, 5))))
    used = np.flatnonzero(found.labels.array.any((0, 1)))
    assert used.size
    assert used.min() >= 1
    assert used.max() <= 6


def test_a_query_of_four_axes_is_refused(answered):
    query, _, support, network, _ = answered
    series = type(query)(np.zeros((*query.grid, 2), np.float32), query.affine, extra_axis="time")
    with pytest.raises(InputError, match="one 3-D image"):
        run_job(condition(ConditionalRequest(series, support, network, "toy")))


def test_a_network_that_is_named_is_used(tmp_path):
    query, labels = body(5)
    support = support_of((query, labels))
    assert choose(query, support).engine == SAME_VOLUME
    for method, engine in (("film", CONDITIONAL), ("prototype", PROTOTYPES)):
        run = run_of(tmp_path / method, method)
        choice = choose(query, support, trained=run)
        assert choice.engine == engine
        assert method in choice.reason
    found = run_job(propose(FewShotRequest(query, support_of(body(0)), AUTOMATIC, trained=tmp_path / "film")))
    assert found.provenance.engine == CONDITIONAL
    assert "network film" in found.provenance.settings
    with pytest.raises(InputError, match="works with the engine conditional"):
        run_job(propose(FewShotRequest(query, support, SAME_VOLUME, trained=tmp_path / "film")))
    with pytest.raises(InputError, match="automatic, same-volume"):
        run_job(propose(FewShotRequest(query, support, CONDITIONAL)))


def test_a_trained_encoder_is_named_by_its_content(tmp_path):
    one, other = (episodic.trained_encoder(run_of(tmp_path / n, "prototype"), "cpu") for n in "ab")
    assert one.name.split()[-1] == other.name.split()[-1]
    network = episodic.made("prototype")
    episodic.save_network("prototype", network.state_dict(), tmp_path / "b" / episodic.WEIGHTS, {})
    assert episodic.trained_encoder(tmp_path / "b", "cpu").name.split()[-1] != one.name.split()[-1]
    with pytest.raises(InputError, match="prototype"):
        episodic.trained_encoder(run_of(tmp_path / "s", "senet"))
    with pytest.raises(InputError, match="encoder"):
        episodic.conditional_network(tmp_path / "a")


def test_runs_are_listed_and_damaged_ones_left_out(tmp_path):
    assert episodic_runs(tmp_path / "none") == ()
    run_of(tmp_path / "one", "senet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / episodic.WEIGHTS).write_bytes(b"nothing")
    (run,) = episodic_runs(tmp_path)
    assert (run.name, run.method) == ("one", "senet")
    assert "SE-Net" in run.description
    with pytest.raises(FormatError, match="damaged"):
        read_episodic_run(tmp_path / "broken")
