"""The state of a training on disk."""

import errno
import math
from dataclasses import replace

import pytest
import torch

from voxelsmith.core.errors import FormatError, InputError, ResourceError
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.train import checkpoint as checkpoints
from voxelsmith.train.checkpoint import CHECKPOINT, export, has_checkpoint, load
from voxelsmith.train.history import HISTORY, HistoryFile, Row, read_history
from voxelsmith.train.loop import Settings, train


def test_it_loads_without_running_code(trained):
    _, _, out = trained(steps=3)
    state = torch.load(out / CHECKPOINT, weights_only=True)
    assert state["step"] == 3
    assert Settings(**state["settings"]).steps == 3


def test_what_a_recipe_says_travels_along_and_older_checkpoints_say_nothing(blob_recipe, settings, tmp_path):
    about = {"classes": (1, 3)}
    run_job(
        train(blob_recipe(), replace(settings, steps=2), tmp_path, about=about), lambda p: about.update(done=p.done)
    )
    assert load(tmp_path).about == {"classes": (1, 3), "done": 1}
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del state["about"]
    torch.save(state, tmp_path / CHECKPOINT)
    assert load(tmp_path).about == {}


def test_a_folder_that_holds_a_training_is_not_overwritten(trained):
    _, _, out = trained(steps=2)
    before = (out / CHECKPOINT).read_bytes()
    with pytest.raises(InputError, match="already holds a training; resume it, or choose another folder"):
        trained(steps=2)
    assert (out / CHECKPOINT).read_bytes() == before
    assert len(read_history(out)) == 1


def test_resuming_where_there_is_none_begins(trained):
    assert trained("new/run", steps=2, resume=True)[1].finished


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 30}, "begun with steps 20 and cannot go on with steps 30; resume with the earlier settings"),
        ({"seed": 1, "average": 0.5}, "begun with average 0.9, seed 0 and cannot go on with average 0.5, seed 1"),
    ],
)
def test_settings_that_decide_the_result_cannot_change(trained, change, sentence):
    with pytest.raises(Cancelled):
        trained(on_progress=lambda progress: progress.done < 2)
    with pytest.raises(InputError, match=sentence):
        trained(resume=True, **change)


def test_where_and_how_often_may_change(trained):
    with pytest.raises(Cancelled):
        trained(on_progress=lambda progress: progress.done < 2)
    assert trained(resume=True, checkpoint_every=3, max_seconds=1000.0, device="auto")[1].finished


def test_another_model_is_told(trained, blob_recipe):
    trained(steps=2)
    with pytest.raises(InputError, match="another model"):
        trained(steps=2, resume=True, recipe=blob_recipe(width=5))


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other", "code"])
def test_a_damaged_checkpoint_is_told(trained, damage):
    _, _, out = trained(steps=2)
    path = out / CHECKPOINT
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        weights = load(out).model["0.weight"].numpy().tobytes()
        content[content.index(weights)] ^= 0xFF
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("a checkpoint")
    elif damage == "other":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        torch.save({"weights": Settings(steps=1)}, path)
    with pytest.raises(FormatError, match=r"checkpoint\.pt is damaged or no checkpoint of a training; remove it"):
        trained(steps=2, resume=True)


def test_a_full_disk_leaves_the_earlier_checkpoint(trained, monkeypatch):
    _, _, out = trained("full", steps=2)
    before = (out / CHECKPOINT).read_bytes()
    earlier = load(out)

    def refuse(state, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(ResourceError, match="no room"):
        checkpoints.save(replace(earlier, step=9), out)
    assert (out / CHECKPOINT).read_bytes() == before
    assert sorted(p.name for p in out.iterdir()) == [CHECKPOINT, HISTORY]


def test_export_needs_a_training_and_the_best_a_validation(trained, tmp_path):
    assert not has_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"holds no checkpoint\.pt"):
        export(tmp_path)
    with pytest.raises(Cancelled):
        trained(on_progress=lambda progress: progress.done < 2)
    assert set(export(tmp_path / "run")) == {"0.weight", "0.bias", "3.weight", "3.bias"}
    with pytest.raises(InputError, match="not been validated yet"):
        export(tmp_path / "run", best=True)


def test_the_history_can_be_read_while_it_is_written(settings, blob_recipe, tmp_path):
    job = train(blob_recipe(), settings, tmp_path)
    steps = []
    for _ in range(7):
        next(job)
        steps.append([row.step for row in read_history(tmp_path)])
    job.close()
    assert steps == [[], [], [], [3], [3], [3], [3, 6]]


def test_a_history_that_was_cut_off_or_damaged(tmp_path):
    with pytest.raises(FormatError, match=r"holds no history\.jsonl"):
        read_history(tmp_path)
    rows = [Row(n, {"loss": 1 / 3, "odd": math.inf}, 0.1, 2.0, 3.0, 4.0, 0, {"score": 0.5}) for n in (1, 2)]
    HistoryFile(tmp_path, rows[:1]).append(rows[1])
    path = tmp_path / HISTORY
    assert "Infinity" not in path.read_text()
    read = read_history(tmp_path)
    assert read[1].losses["loss"] == 1 / 3
    assert math.isnan(read[1].losses["odd"])
    path.write_bytes(path.read_bytes()[:-9])
    assert [row.step for row in read_history(tmp_path)] == [1]
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(FormatError, match="is damaged"):
        read_history(tmp_path)
