"""The recipe of the promptable network: its episodes can be made anew anywhere, it learns, and it judges fairly."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from volumes import SHAPE, labelled, save, table, two_patients, write_split

from voxelsmith.core.errors import FormatError, GeometryError, InputError
from voxelsmith.core.progress import run_job
from voxelsmith.models.promptable import Architecture, PromptableNet
from voxelsmith.train import promptable, prompted_objects
from voxelsmith.train.checkpoint import export
from voxelsmith.train.loop import train
from voxelsmith.train.prompted_objects import PromptedObjects
from voxelsmith.train.prompting import begin
from voxelsmith.train.sample import Annotated
from voxelsmith.train.split import learning_entries
from voxelsmith.weights import store

TINY = Architecture(widths=(8, 16), detail=4, groups=4)
SPACING = np.ones(3)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads that wait for each other take longer than networks this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small episodes, and synthetic images that are quick to make."""
    monkeypatch.setattr(prompted_objects, "_GRIDS", {800: 0.5, 1500: 0.5})
    monkeypatch.setattr(prompted_objects, "synthetic_sample", blocks)
    monkeypatch.setattr(prompted_objects, "anatomy_sample", anatomy)
    monkeypatch.setattr(promptable, "_JUDGED_VOXELS", 1500)


def blocks(rng):
    image, labels = labelled(int(rng.integers(10**6)))
    return Annotated(image, labels, SPACING, "shapes")


def anatomy(rng, labels, spacing, *, scheme, name):
    image = labels + rng.normal(0, 0.1, labels.shape)
    return Annotated(image.astype(np.float32), labels, spacing, f"{name} {len(scheme.pairs) > 0}")


def content(episode):
    return episode.kind, episode.target.tobytes(), episode.region.inputs().tobytes()


def objects(folder, **keys):
    return PromptedObjects(learning_entries(folder, two_patients(folder))[0], 3, **keys)


def toy_episodes():
    """Two objects, each prompted by a box."""
    episodes = []
    for seed in (1, 2):
        image, labels = labelled(seed)
        rng = np.random.default_rng(seed)
        image += 80 * rng.normal(size=SHAPE).astype(np.float32)
        episodes.append(begin(rng, image, labels == seed, SPACING, 800, "box"))
    return episodes


def test_an_episode_depends_on_seed_and_index_alone(tmp_path):
    indices = range(24)
    straight = objects(tmp_path)
    found = [content(straight[i]) for i in indices]
    backwards = objects(tmp_path)
    assert [content(backwards[i]) for i in reversed(indices)] == found[::-1]
    elsewhere = pickle.loads(pickle.dumps(objects(tmp_path)))
    assert [content(elsewhere[i]) for i in (20, 3)] == [found[20], found[3]]
    after_work = pickle.loads(pickle.dumps(backwards))
    assert [content(after_work[i]) for i in (7, 16)] == [found[7], found[16]]
    assert len(set(found)) == len(found)
    other = PromptedObjects(straight._labelled["Blocks"], 4)
    assert content(other[0]) != found[0]


def test_every_source_and_every_kind_occurs(tmp_path, monkeypatch):
    dataset = objects(tmp_path)
    asked = Counter()
    real = PromptedObjects.episode

    def episode(self, rng, source, *args, **keys):
        asked[source] += 1
        return real(self, rng, source, *args, **keys)

    monkeypatch.setattr(PromptedObjects, "episode", episode)
    kinds = Counter(dataset[i].kind for i in range(40))
    assert dataset.sources == ("shapes", "anatomy", "real", "pseudo")
    assert set(asked) == set(dataset.sources)
    assert asked["real"] > asked["pseudo"]
    assert set(kinds) == {"box", "click", "mask"}
    assert kinds["box"] > kinds["mask"]


def test_targets_have_the_grid_of_their_region(tmp_path):
    dataset = objects(tmp_path)
    for i in range(12):
        episode = dataset[i]
        assert episode.target.shape == episode.region.region.grid == episode.region.inputs().shape[1:]
        assert episode.target.dtype == np.float16
        assert (episode.target > 0.5).any()


@pytest.mark.parametrize(
    ("keys", "sources"),
    [
        ({"image": "a.nii", "labels": "b.nii"}, ("shapes", "real", "pseudo")),
        ({"image": "a.nii", "labels": "b.nii", "anatomy": "plain"}, ("shapes", "anatomy", "real", "pseudo")),
        ({"image": "a.nii"}, ("shapes", "pseudo")),
        ({"labels": "b.nii"}, ("shapes", "anatomy")),
    ],
    ids=["labelled", "anatomy", "unlabelled", "map"],
)
def test_volumes_serve_what_they_can(tmp_path, keys, sources):
    for name in ("a.nii", "b.nii"):
        save(tmp_path / name, labelled(0)[1])
    train, _ = learning_entries(tmp_path, write_split(tmp_path, table(**keys)))
    dataset = PromptedObjects(train)
    assert dataset.sources == sources
    for i in range(6):
        assert (dataset[i].target > 0.5).any()


def test_labelled_volumes_among_unlabelled_ones_are_found(tmp_path):
    image, labels = labelled(0)
    save(tmp_path / "a.nii", image)
    save(tmp_path / "b.nii", labels)
    bare = [table(image="a.nii", patient=f"p{n}") for n in range(200)]
    train, _ = learning_entries(tmp_path, write_split(tmp_path, *bare, table(image="a.nii", labels="b.nii")))
    episode = PromptedObjects(train).episode(np.random.default_rng(0), "real")
    assert (episode.target > 0.5).any()


def test_freesurfer_numbers_are_known_only_where_the_split_says_so(tmp_path, monkeypatch):
    asked = []

    def spy(rng, labels, spacing, *, scheme, name):
        asked.append((name, scheme.pairs.get(41)))
        return anatomy(rng, labels, spacing, scheme=scheme, name=name)

    monkeypatch.setattr(prompted_objects, "anatomy_sample", spy)
    save(tmp_path / "a.nii", labelled(0, (2, 41))[1])
    save(tmp_path / "b.nii", labelled(0, (2, 41))[1])
    split = write_split(tmp_path, table(labels="a.nii", anatomy="freesurfer"), table(labels="b.nii"))
    dataset = PromptedObjects(learning_entries(tmp_path, split)[0])
    for seed in range(12):
        dataset.episode(np.random.default_rng(seed), "anatomy")
    assert set(asked) == {("p1 a", 2), ("p1 b", None)}


def test_volumes_without_an_object_end_with_a_sentence(tmp_path):
    image, labels = labelled(0)
    save(tmp_path / "a.nii", image)
    save(tmp_path / "b.nii", 0 * labels)
    train, _ = learning_entries(tmp_path, write_split(tmp_path, table(image="a.nii", labels="b.nii", anatomy="plain")))
    for source in ("real", "anatomy"):
        with pytest.raises(InputError, match=rf"In 100 tries \({source}\) no object of 40 voxels or more was found"):
            PromptedObjects(train).episode(np.random.default_rng(0), source)


def test_noise_without_regions_is_replaced_by_shapes(tmp_path):
    save(tmp_path / "a.nii", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    train, _ = learning_entries(tmp_path, write_split(tmp_path, table(image="a.nii")))
    dataset = PromptedObjects(train)
    one, again = (content(dataset.episode(np.random.default_rng(5), "pseudo")) for _ in range(2))
    assert one == again


def test_labels_on_another_grid_end_with_a_sentence(tmp_path):
    image, labels = labelled(0)
    save(tmp_path / "a.nii", image)
    save(tmp_path / "b.nii", labels[1:])
    train, _ = learning_entries(tmp_path, write_split(tmp_path, table(image="a.nii", labels="b.nii")))
    with pytest.raises(GeometryError, match="resample it first"):
        PromptedObjects(train).episode(np.random.default_rng(0), "real")


def test_only_real_images_for_training_are_deformed(tmp_path):
    _, labels = labelled(0)
    shapes = set()
    for augmented in (True, False):
        dataset = objects(tmp_path, augmented=augmented)
        found = [dataset._annotated(np.random.default_rng(n), "real") for n in range(8)]
        shapes.add(len({f.image.shape for f in found}))
        if not augmented:
            counts = {int((labels == 1).sum()), int((labels == 2).sum()), int((labels > 0).sum())}
            assert {int(f.labels.sum()) for f in found} <= counts
    assert min(shapes) <= 3 < max(shapes)


def test_volumes_beyond_the_memory_limit_are_read_again(tmp_path, monkeypatch):
    image, labels = labelled(0)
    for n in range(3):
        save(tmp_path / f"{n}.nii", image + n)
    save(tmp_path / "l.nii", labels)
    split = write_split(tmp_path, *(table(image=f"{n}.nii", labels="l.nii") for n in range(3)))
    train, _ = learning_entries(tmp_path, split)
    plenty = PromptedObjects(train)
    found = [content(plenty.episode(np.random.default_rng(n), "real")) for n in range(8)]
    assert len(plenty._read_volumes) == 3
    monkeypatch.setattr(prompted_objects, "_KEPT_VOXELS", image.size)
    scarce = PromptedObjects(train)
    for n in range(8):
        assert content(scarce.episode(np.random.default_rng(n), "real")) == found[n]
        assert len(scarce._read_volumes) == 1


def test_synthetic_images_are_shared_by_a_few_episodes(monkeypatch):
    made = []

    def counted(rng):
        made.append(1)
        return blocks(rng)

    monkeypatch.setattr(prompted_objects, "synthetic_sample", counted)
    dataset = PromptedObjects(seed=1)
    episodes = [content(dataset[i]) for i in range(32)]
    assert len(made) == 8
    assert len(set(episodes)) > 24
    assert len(dataset._recent["shapes"]) == 4


def test_training_lowers_the_loss():
    made = promptable.recipe(architecture=TINY)
    optimiser = torch.optim.AdamW(made.model.parameters(), lr=1e-2)
    episodes = toy_episodes()
    losses = []
    for step in range(20):
        terms = [made.loss(e, np.random.default_rng((step, n))) for n, e in enumerate(episodes)]
        optimiser.zero_grad()
        sum(term["loss"] for term in terms).backward()
        optimiser.step()
        losses.append(sum(float(term["first"]) for term in terms))
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


def test_half_of_the_losses_look_at_corrected_answers_too():
    made = promptable.recipe(architecture=TINY)
    episode = toy_episodes()[0]
    before = content(episode)
    terms = [made.loss(episode, np.random.default_rng(seed)) for seed in range(40)]
    corrected = [t for t in terms if "last" in t]
    assert 10 <= len(corrected) <= 30
    assert all(t["loss"].requires_grad and not t["first"].requires_grad for t in terms)
    assert all(t["loss"].item() == pytest.approx(t["first"].item()) for t in terms if "last" not in t)
    assert any(t["loss"].item() != pytest.approx(t["first"].item()) for t in corrected)
    assert content(episode) == before
    again = made.loss(episode, np.random.default_rng(3))
    assert again["loss"].item() == terms[3]["loss"].item()


def test_an_answer_without_errors_is_not_corrected():
    class Knows(torch.nn.Module):
        def __init__(self, target):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.target = torch.from_numpy(target.astype(np.float32))[None, None]

        def forward(self, x):
            return 40 * (self.target - 0.5) + self.weight

    episode = toy_episodes()[0]
    target = (episode.target > 0.5).astype(np.float16)
    made = promptable.PromptableRecipe(Knows(target), PromptedObjects(), PromptedObjects())
    assert not any("last" in made.loss(episode, np.random.default_rng(seed)) for seed in range(10))
    assert made._dice_by_clicks(episode, np.random.default_rng(0))[1:] == [1, 1, 1]


def test_validation_scores_each_source_that_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(promptable, "_JUDGED", {"shapes": 2, "anatomy": 1, "real": 3})
    made = promptable.recipe(tmp_path, architecture=TINY, split=two_patients(tmp_path))
    first = made.validate()
    assert made.validate() == first
    assert set(first) == {"score", "guess", "dice0", "dice1", "dice2", "real0", "real2"}
    assert all(0 <= value <= 1 for value in first.values())
    assert first["score"] == pytest.approx((first["dice0"] + first["dice1"] + first["dice2"]) / 3)
    # A network that was not trained answers with the guess, and clicks improve it.
    assert first["dice0"] == pytest.approx(first["guess"], abs=1e-3)
    dice = [made._dice_by_clicks(e, np.random.default_rng(0)) for source, e in made._judged if source == "real"]
    assert first["real0"] == pytest.approx(np.mean([d[1] for d in dice]))
    assert Counter(source for source, _ in made._judged) == {"shapes": 2, "anatomy": 1, "real": 3}
    another = promptable.recipe(tmp_path, seed=5, architecture=TINY, split=tmp_path / "split.toml")
    assert [content(e) for _, e in another._judged[3:]] == [content(e) for _, e in made._judged[3:]]


def test_nobody_who_is_trained_on_judges(tmp_path):
    made = promptable.recipe(tmp_path, architecture=TINY, split=two_patients(tmp_path))

    def patients(dataset):
        rngs = [np.random.default_rng(n) for n in range(6)]
        names = [dataset._annotated(rng, source).name for rng in rngs for source in ("real", "anatomy")]
        return {name.split()[0] for name in names}

    assert patients(made.dataset) == {"a", "c"}
    assert patients(made._judges) == {"b", "d"}


def test_it_works_without_any_volume(monkeypatch):
    monkeypatch.setattr(promptable, "_JUDGED", {"shapes": 2, "anatomy": 1, "real": 3})
    made = promptable.recipe(architecture=TINY)
    assert made.dataset.sources == ("shapes",)
    assert made.loss(made.dataset[0], np.random.default_rng(0))["loss"].item() > 0
    first = made.validate()
    assert made.validate() == first
    assert set(first) == {"score", "guess", "dice0", "dice1", "dice2"}
    assert Counter(source for source, _ in made._judged) == {"shapes": 2}


def test_it_works_on_shapes_as_they_are_made(monkeypatch):
    monkeypatch.undo()
    dataset = PromptedObjects(seed=2)
    episode = dataset.episode(np.random.default_rng(1), "shapes", voxels=2000)
    assert (episode.target > 0.5).any()


def test_the_seed_decides_weights_and_samples_and_leaves_torch_alone():
    torch.manual_seed(9)
    state = torch.random.get_rng_state()
    one, same, other = (promptable.recipe(seed=seed, architecture=TINY) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.testing.assert_close(one.model.state_dict(), same.model.state_dict(), rtol=0, atol=0)
    assert not torch.equal(one.model.stem.weight, other.model.stem.weight)
    assert content(one.dataset[0]) == content(same.dataset[0]) != content(other.dataset[0])


def test_a_training_can_start_from_an_earlier_one_or_from_the_shipped_weights(tmp_path):
    earlier = promptable.recipe(seed=1, architecture=TINY)
    run_job(train(earlier, promptable.settings(steps=1, workers=0), tmp_path))
    made = promptable.recipe(seed=2, architecture=TINY, start=tmp_path)
    torch.testing.assert_close(made.model.state_dict(), export(tmp_path), rtol=0, atol=0)
    shipped = promptable.recipe(start=Path(promptable.SHIPPED)).model.state_dict()
    torch.testing.assert_close(shipped, store.load("promptable"), rtol=0, atol=0)
    with pytest.raises(InputError, match="of another size"):
        promptable.recipe(start=tmp_path)
    with pytest.raises(InputError, match="holds no"):
        promptable.recipe(start=tmp_path / "nothing")


def test_paths_are_relative_to_the_data_or_to_the_split(tmp_path):
    data, lists = tmp_path / "data", tmp_path / "lists"
    data.mkdir()
    lists.mkdir()
    beside = two_patients(data)
    elsewhere = lists / "split.toml"
    elsewhere.write_text(beside.read_text(encoding="utf-8"), encoding="utf-8")
    for arguments in ({"split": beside}, {"data": data, "split": elsewhere}):
        made = promptable.recipe(architecture=TINY, **arguments)
        assert made.dataset.sources == ("shapes", "anatomy", "real", "pseudo")
    with pytest.raises(FormatError, match="files of the split are not there"):
        promptable.recipe(split=elsewhere)


def test_the_settings_can_be_changed_one_by_one():
    assert promptable.settings() != promptable.settings(steps=7)
    assert promptable.settings(steps=7).steps == 7
    assert promptable.settings(steps=7).learning_rate == promptable.settings().learning_rate
    assert isinstance(promptable.recipe().model, PromptableNet)
    assert promptable.recipe().model.architecture == Architecture()
