"""TV-Unet as a job: it learns, shows, listens, stops, resumes and says what it refuses."""

import os
import queue
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from painted import SLICES, example, request, scan

from voxelsmith.core.errors import FormatError, InputError, ResourceError
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.core.resample import reorient
from voxelsmith.core.support import SupportExample
from voxelsmith.jobs.process import ProcessJob
from voxelsmith.segment.trained import apply
from voxelsmith.train import tvunet_session
from voxelsmith.train.checkpoint import load
from voxelsmith.train.history import read_history
from voxelsmith.train.tvunet import Live, ShowSlice, TakeLabels, paper_literal, run, settings, trained_model


def losses_of(folder):
    return [(row.step, row.losses, row.validation) for row in read_history(folder)]


def notes_of(seen):
    return [note for progress in seen if progress.partial for note in progress.partial.notes]


def test_it_learns_two_objects_from_five_slices(tmp_path):
    wanted = request(
        tmp_path / "run", steps=60, width=8, batch=4, patch=32, learning_rate=1e-2, average=0.9, validate_every=60
    )
    done = run_job(run(wanted))
    assert done.history.finished
    assert done.notes == ()
    image, labels = scan()
    found = np.asarray(run_job(apply(trained_model(tmp_path / "run"), image)).labels.array)
    rest = [n for n in range(12) if n not in SLICES]
    for value in (1, 3):
        assert dice(labels.array[..., rest] == value, found[..., rest] == value) > 0.85


def test_a_stopped_and_resumed_training_equals_a_straight_one(tmp_path):
    run_job(run(request(tmp_path / "straight", dropout=0.1)))
    with pytest.raises(Cancelled):
        run_job(run(request(tmp_path / "stopped", dropout=0.1)), lambda p: p.done < 3)
    assert load(tmp_path / "stopped").step == 3
    seen = []
    run_job(run(request(tmp_path / "stopped", dropout=0.1, resume=True)), seen.append)
    assert losses_of(tmp_path / "stopped") == losses_of(tmp_path / "straight")
    one, other = load(tmp_path / "straight"), load(tmp_path / "stopped")
    torch.testing.assert_close(one.model, other.model, rtol=0, atol=0)
    assert one.about == other.about
    assert notes_of(seen) == []


def test_the_checkpoint_says_what_the_network_is_for(tmp_path):
    run_job(run(request(tmp_path / "run", steps=1)))
    about = load(tmp_path / "run").about
    assert (about["recipe"], about["version"]) == ("tvunet", 1)
    model = trained_model(tmp_path / "run")
    assert model.plan.names == ("ball", "rod")
    assert model.plan.classes == (1, 3)
    assert model.plan.spacing == (1.0, 1.0, 2.0)
    assert model.fingerprint == about["fingerprint"]
    assert model.architecture.width == 4


def test_the_best_or_the_last_weights(tmp_path, monkeypatch):
    scores = iter([0.9, 0.1])
    monkeypatch.setattr(tvunet_session.TVUnetRecipe, "validate", lambda self: {"score": next(scores)})
    run_job(run(request(tmp_path / "run")))
    best, last = trained_model(tmp_path / "run"), trained_model(tmp_path / "run", best=False)
    assert (best.details["steps"], last.details["steps"]) == ("3", "6")
    assert not torch.equal(best.weights["head.weight"], last.weights["head.weight"])


def test_previews_show_the_slice_that_is_asked_for(tmp_path):
    inbox, seen = queue.SimpleQueue(), []

    def watch(progress):
        seen.append(progress)
        if progress.done == 2:
            inbox.put(ShowSlice(9))

    run_job(run(request(tmp_path / "run", show=ShowSlice(4), preview_seconds=0), inbox), watch)
    previews = [p.partial.preview for p in seen if p.partial and p.partial.preview]
    assert {p.slice.index for p in previews if p.step <= 2} <= {4}
    assert previews[-1].slice == ShowSlice(9)
    assert previews[-1].axis == 2
    assert previews[-1].classes == (1, 3)
    assert previews[-1].probabilities.shape == (2, 40, 36)
    assert previews[-1].probabilities.dtype == np.uint8


def test_a_preview_lies_in_the_image_as_it_is_stored(tmp_path):
    """The second volume is stored in another orientation than the first, whose orientation the network knows."""
    image, labels = scan(2)
    turned = reorient(image, "IPL"), reorient(labels, "IPL")
    other = SupportExample(*turned, 0, (1, 3, 5, 7, 9), frozenset({1, 3}))
    seen = []
    run_job(
        run(request(tmp_path / "run", example(), other, average=0.0, preview_seconds=0, show=ShowSlice(4, 1))),
        seen.append,
    )
    preview = [p.partial.preview for p in seen if p.partial and p.partial.preview][-1]
    assert (preview.axis, preview.step) == (0, 6)
    whole = run_job(apply(trained_model(tmp_path / "run", best=False), turned[0], "cpu", [other]))
    assert whole.axis == 0
    np.testing.assert_allclose(preview.probabilities / 255, whole.probabilities[:, 4], atol=4e-3)


def test_a_slice_that_does_not_exist_is_not_shown(tmp_path):
    seen = []
    run_job(run(request(tmp_path / "run", show=ShowSlice(99), preview_seconds=0)), seen.append)
    assert [p for p in seen if p.partial and p.partial.preview] == []


def test_reports_tell_rows_pace_and_what_is_left(tmp_path):
    seen = []
    run_job(run(request(tmp_path / "run", steps=6)), seen.append)
    rows = [row for p in seen if p.partial for row in p.partial.rows]
    assert tuple(rows) == read_history(tmp_path / "run")
    assert {"entropy", "overlap", "variation", "loss"} <= rows[-1].losses.keys()
    assert rows[-1].losses["pull"] > 1e-3
    assert {"score", "dice ball", "dice rod", "pieces", "holes"} == rows[-1].validation.keys()
    assert seen[-1].partial.seconds_left == 0
    assert seen[-2].partial.seconds_per_step > 0


def test_labels_painted_meanwhile_are_taken_in_at_the_end_of_an_epoch(tmp_path):
    inbox, seen = queue.SimpleQueue(), []

    def watch(progress):
        seen.append(progress)
        if progress.done == 1:
            inbox.put(TakeLabels((example(slices=(*SLICES, 5, 7)),)))

    done = run_job(run(request(tmp_path / "run"), inbox), watch)
    assert notes_of(seen) == ["From step 2 on, the training learns from 6 slices."]
    assert done.fingerprint == load(tmp_path / "run").about["fingerprint"]
    assert done.fingerprint != run_job(run(request(tmp_path / "other", steps=1))).fingerprint


def test_labels_with_a_new_class_are_left_out_with_a_sentence(tmp_path):
    image, labels = scan()
    strange = SupportExample(image, replace(labels, array=labels.array // 3 * 5), 2, SLICES)
    inbox, seen = queue.SimpleQueue(), []
    inbox.put(TakeLabels((strange,)))
    assert run_job(run(request(tmp_path / "run", steps=3), inbox), seen.append).history.finished
    assert notes_of(seen)[0].startswith("The new labels were left out: The network learns the classes [1, 3]")


def test_few_slices_are_said_not_to_judge(tmp_path):
    done = run_job(run(request(tmp_path / "run", example(slices=(4, 6, 8)))))
    assert done.notes == (
        "Only 3 annotated slices: none is kept apart to judge by, so the curve shows the loss alone.",
    )
    assert done.history.best_score is None
    assert trained_model(tmp_path / "run").details == {"steps": "6"}


@pytest.mark.parametrize("after", [0, 3])
def test_too_little_memory_halves_the_patch_and_says_so(tmp_path, monkeypatch, after):
    loss = tvunet_session.TVUnetRecipe.loss

    def hungry(self, sample, rng):
        if sample["image"].shape[-1] > 32 and self.step >= after:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")
        return loss(self, sample, rng)

    monkeypatch.setattr(tvunet_session.TVUnetRecipe, "loss", hungry)
    done = run_job(run(request(tmp_path / "run")))
    assert done.notes == ("Memory was too small, so patches now have 32 x 32 pixels.",)
    assert done.history.finished
    assert trained_model(tmp_path / "run").plan.patch == (1, 32, 32)
    assert [step for step, _, _ in losses_of(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_memory_for_no_patch_at_all_is_told(tmp_path, monkeypatch):
    def hungry(self, sample, rng):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(tvunet_session.TVUnetRecipe, "loss", hungry)
    with pytest.raises(ResourceError, match="too small for the smallest patch"):
        run_job(run(request(tmp_path / "run")))


@pytest.mark.parametrize("dims", ["2.5d", "3d"])
def test_slices_with_neighbours_and_blocks_run_and_apply(tmp_path, dims):
    run_job(run(request(tmp_path / "run", dims=dims, steps=2, depth=8, coordinates=dims == "3d")))
    proposal = run_job(apply(trained_model(tmp_path / "run"), scan()[0]))
    assert proposal.probabilities.shape == (2, 40, 36, 12)
    assert np.isfinite(proposal.probabilities).all()


def test_the_published_settings_train(tmp_path):
    changes = {"steps": 2, "batch": 2, "patch": 32, "width": 4, "device": "cpu", "precision": "float32", "log_every": 1}
    wanted = replace(request(tmp_path / "run"), settings=paper_literal(**changes))
    rows = run_job(run(wanted)).history.rows
    assert "overlap" not in rows[-1].losses
    assert rows[-1].losses["loss"] == pytest.approx(rows[-1].losses["entropy"], rel=1e-5)


def test_a_training_is_not_resumed_with_other_classes_settings_or_by_accident(tmp_path):
    run_job(run(request(tmp_path / "run", steps=2)))
    with pytest.raises(InputError, match="already holds a training; resume it"):
        run_job(run(request(tmp_path / "run", steps=2)))
    with pytest.raises(InputError, match="begun with batch 2 and cannot go on with batch 3"):
        run_job(run(request(tmp_path / "run", steps=2, batch=3, resume=True)))
    image, labels = scan()
    array = labels.array.copy()
    array[:3] = 7
    more = SupportExample(image, replace(labels, array=array), 2, SLICES)
    with pytest.raises(InputError, match=r"begun with the classes \[1, 3\] and cannot go on with \[1, 3, 7\]"):
        run_job(run(request(tmp_path / "run", more, steps=2, resume=True)))


def test_changed_annotations_are_said_when_a_training_is_resumed(tmp_path):
    with pytest.raises(Cancelled):
        run_job(run(request(tmp_path / "run")), lambda p: p.done < 2)
    done = run_job(run(request(tmp_path / "run", example(slices=(*SLICES, 5)), resume=True)))
    assert done.notes[0].startswith("The annotations have changed since this training was begun")
    assert done.history.finished


def test_a_checkpoint_of_another_recipe_or_version_or_a_damaged_one_is_told(tmp_path):
    folder = tmp_path / "run"
    run_job(run(request(folder, steps=2)))
    file = folder / "checkpoint.pt"
    whole = file.read_bytes()
    for about, came in (({}, "of another kind"), ({"recipe": "tvunet", "version": 9}, "version 9")):
        torch.save({**vars(load(folder)), "about": about}, file)
        with pytest.raises(FormatError, match=f"version 1, but it is {came}"):
            trained_model(folder)
        file.write_bytes(whole)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="damaged or no checkpoint"):
        run_job(run(request(folder, steps=2, resume=True)))


def test_nothing_painted_is_told(tmp_path):
    image, labels = scan()
    empty = SupportExample(image, replace(labels, array=0 * labels.array), 2, SLICES, frozenset({1}))
    with pytest.raises(InputError, match="something painted on them"):
        run_job(run(request(tmp_path / "run", empty)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"patch": 40}, "multiple of 16 and at least 32 pixels, got 40"),
        ({"variation": -1}, "variation of 0 or more, got -1"),
        ({"workers": 2}, "leave workers at 0, got 2"),
        ({"flips": (2,)}, r"axes 0 to 1, got flips along \[2\]"),
        ({"batch": 0}, "batch of 1 or more"),
    ],
)
def test_settings_outside_their_range_are_told(change, sentence):
    with pytest.raises(InputError, match=sentence):
        settings(**change)


def test_live_reports_merge():
    first, second = Live(rows=(1,), preview="old", notes=("a",)), Live(rows=(2,), seconds_left=5.0)
    merged = second.after(first)
    assert (merged.rows, merged.preview, merged.notes, merged.seconds_left) == ((1, 2), "old", ("a",), 5.0)
    assert Live(preview="new").after(first).preview == "new"


def test_in_a_process_a_kill_leaves_a_checkpoint_that_goes_on(tmp_path):
    folder = tmp_path / "run"
    job = ProcessJob(run, request(folder, steps=400, checkpoint_every=1))
    running = job.run()
    for progress in running:
        if progress.done >= 3:
            break
    os.kill(job.pid, signal.SIGKILL)
    with pytest.raises(ResourceError, match="resume it"):
        run_job(running)
    reached = load(folder).step
    assert reached >= 2
    resumed = run(replace(request(folder, steps=400, checkpoint_every=1), resume=True))
    assert [next(resumed).done for _ in range(3)] == [0, reached, reached + 1]
    resumed.close()


def test_a_window_can_hold_requests_without_torch():
    script = (
        "import sys\n"
        "import voxelsmith.train.tvunet as trainer, voxelsmith.jobs.process, voxelsmith.segment.trained\n"
        "trainer.settings(), trainer.paper_literal()\n"
        "assert not {'torch', 'monai'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
