"""The training loop: it learns, and a training that was stopped and resumed equals one that was not."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from voxelsmith.core.errors import InputError, ResourceError
from voxelsmith.core.progress import Cancelled
from voxelsmith.models import device as devices
from voxelsmith.train.checkpoint import export, load
from voxelsmith.train.history import read_history
from voxelsmith.train.loop import Settings, train


def stop_after(steps):
    """A listener that stops a job at the report of that step."""
    return lambda progress: progress.done < steps


def numbers_of(rows):
    """The rows without the times, which no two runs share."""
    return [(r.step, r.losses, r.learning_rate, r.skipped, r.validation) for r in rows]


def assert_same_training(one, other):
    first, second = load(one), load(other)
    assert (first.step, first.non_finite) == (second.step, second.non_finite)
    for a, b in [
        (first.model, second.model),
        (first.weights, second.weights),
        (first.best["weights"], second.best["weights"]),
        (first.optimiser["state"], second.optimiser["state"]),
    ]:
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert first.best["step"] == second.best["step"]
    assert numbers_of(read_history(one)) == numbers_of(read_history(other))


def test_training_lowers_the_loss_and_reports_each_step(trained):
    reports = []
    _, history, out = trained(on_progress=reports.append)
    assert [p.done for p in reports] == list(range(21))
    assert {p.total for p in reports} == {20}
    assert reports[-1].partial == history.rows[-1]
    assert reports[-1].message == f"Training: step 20 of 20, loss {history.rows[-1].losses['loss']:.4f}"
    assert [r.step for r in history.rows] == [3, 6, 8, 9, 12, 15, 16, 18, 20]
    assert history.rows[-1].losses["loss"] < 0.8 * history.rows[0].losses["loss"]
    assert history.finished
    assert read_history(out) == history.rows
    assert all(math.isfinite(r.losses["largest"]) for r in history.rows)


def test_rows_tell_the_validations_and_the_speed_of_data_and_network(trained):
    _, history, _ = trained()
    assert [r.step for r in history.rows if r.validation] == [8, 16, 20]
    scores = {r.step: r.validation["score"] for r in history.rows if r.validation}
    assert history.rows[-1].validation["ten"] == 10
    assert history.best_score == max(scores.values()) == scores[history.best_step]
    assert all(r.data_rate > 0 and r.network_rate > 0 and r.seconds > 0 for r in history.rows)
    seconds = [r.seconds for r in history.rows]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_and_resumed_training_equals_a_straight_one(trained, workers):
    _, straight, one = trained("straight")
    with pytest.raises(Cancelled):
        trained("stopped", workers=workers, on_progress=stop_after(10))
    assert load(one.with_name("stopped")).step == 10
    _, resumed, other = trained("stopped", workers=workers, resume=True)
    assert_same_training(one, other)
    assert numbers_of(resumed.rows) == numbers_of(straight.rows)


def test_stopping_at_every_step_changes_nothing(trained):
    _, _, one = trained("straight", steps=6)
    for step in range(1, 6):
        with pytest.raises(Cancelled):
            trained("stopped", steps=6, resume=True, on_progress=stop_after(step))
    _, _, other = trained("stopped", steps=6, resume=True)
    assert_same_training(one, other)


def test_a_crash_goes_back_to_the_last_checkpoint_and_its_rows(trained, blob_recipe):
    _, _, one = trained("straight")
    recipe, calls = blob_recipe(), itertools.count()
    loss = recipe.loss

    def crash(sample, rng):
        if next(calls) == 20:
            raise MemoryError
        return loss(sample, rng)

    recipe.loss = crash
    with pytest.raises(MemoryError):
        trained("crashed", recipe=recipe)
    crashed = one.with_name("crashed")
    assert load(crashed).step == 7
    assert read_history(crashed)[-1].step == 9
    begun = train(blob_recipe(), Settings(**load(crashed).settings), crashed, resume=True)
    assert next(begun).done == 7
    assert read_history(crashed)[-1].step == 6
    begun.close()
    trained("crashed", resume=True)
    assert_same_training(one, crashed)


def test_the_time_limit_stops_with_a_checkpoint_that_goes_on(trained):
    _, _, one = trained("straight", steps=3)
    for step in (1, 2):
        _, history, other = trained("timed", steps=3, max_seconds=1e-6, resume=True)
        assert (history.step, history.steps, history.finished) == (step, 3, False)
    assert trained("timed", steps=3, resume=True)[1].finished
    assert_same_training(one, other)


def test_a_finished_training_resumes_to_its_history(trained):
    _, history, _ = trained()
    again = trained(resume=True)[1]
    assert again == history


def test_samples_and_random_numbers_depend_on_the_seed_and_the_step_only(trained):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    _, _, one = trained("one", steps=4)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    _, _, other = trained("other", steps=4)
    assert_same_training(one, other)
    _, _, third = trained("third", steps=4, seed=1)
    assert not torch.equal(load(one).model["0.weight"], load(third).model["0.weight"])


def test_each_step_has_random_numbers_of_its_own(trained, blob_recipe):
    recipe, drawn = blob_recipe(), []
    loss = recipe.loss

    def listen(sample, rng):
        drawn.append((float(rng.random()), float(torch.rand(()))))
        return loss(sample, rng)

    recipe.loss = listen
    trained(recipe=recipe, steps=4)
    assert len(set(drawn)) == len({first for first, _ in drawn}) == len({second for _, second in drawn}) == 8


def test_a_stop_before_the_first_step_leaves_no_training(trained):
    with pytest.raises(Cancelled):
        trained(on_progress=lambda progress: False)
    assert trained()[1].finished


def test_validation_and_export_use_the_average_of_the_weights(trained, settings):
    recipe, _, out = trained(validate_every=20)
    own, averaged = load(out).model, export(out)
    assert torch.equal(recipe.model[0].weight, own["0.weight"])
    assert torch.equal(recipe.validated[-1], averaged["0.weight"])
    assert not torch.equal(own["0.weight"], averaged["0.weight"])


def test_the_average_keeps_more_and_more(trained):
    recipe, _, out = trained(steps=1)
    start = type(recipe)().model[0].weight.detach()
    own, averaged = load(out).model["0.weight"], export(out)["0.weight"]
    torch.testing.assert_close(averaged, 0.1 * start + 0.9 * own)


def test_without_an_average_the_weights_are_the_models(trained):
    recipe, _, out = trained(average=0.0)
    torch.testing.assert_close(export(out), dict(recipe.model.state_dict()), rtol=0, atol=0)


def test_the_best_weights_are_those_of_the_best_validation(trained, blob_recipe):
    recipe, scores = blob_recipe(), iter([0.2, 0.9, 0.5, math.nan, 0.9])
    seen = []

    def validate():
        seen.append({name: value.clone() for name, value in recipe.model.state_dict().items()})
        return {"score": next(scores)}

    recipe.validate = validate
    _, history, out = trained(recipe=recipe, validate_every=4)
    assert (history.best_score, history.best_step) == (0.9, 8)
    torch.testing.assert_close(export(out, best=True), seen[1], rtol=0, atol=0)
    assert math.isnan(read_history(out)[-3].validation["score"])


def test_a_loss_that_is_not_finite_is_skipped_and_counted(trained, blob_recipe):
    _, history, out = trained(recipe=blob_recipe(poisoned=[4, 5, 9]))
    assert {r.step: r.skipped for r in history.rows if r.skipped} == {3: 1, 6: 1}
    assert all(bool(torch.isfinite(value).all()) for value in export(out).values())
    assert history.rows[-1].losses["loss"] < history.rows[0].losses["loss"]


def test_a_gradient_that_is_not_finite_is_skipped(trained, blob_recipe):
    recipe = blob_recipe()
    loss = recipe.loss
    # The square root of zero is finite, its slope is not.
    recipe.loss = lambda sample, rng: {"loss": loss(sample, rng)["loss"] + (0 * recipe.model[0].weight.sum()).sqrt()}
    _, history, _ = trained(recipe=recipe, steps=3)
    assert history.rows[-1].skipped == 3
    assert history.rows[-1].losses == {}
    torch.testing.assert_close(recipe.model.state_dict(), blob_recipe().model.state_dict(), rtol=0, atol=0)


def test_too_many_losses_that_are_not_finite_stop_the_training(trained, blob_recipe):
    with pytest.raises(InputError, match="not finite for 4 steps in a row, up to step 9; lower the learning rate"):
        trained(recipe=blob_recipe(poisoned=range(10, 40)), non_finite_limit=4)


def test_the_count_of_losses_that_are_not_finite_survives_a_stop(trained, blob_recipe):
    poisoned = range(10, 40)
    with pytest.raises(Cancelled):
        trained(recipe=blob_recipe(poisoned), non_finite_limit=4, on_progress=stop_after(7))
    with pytest.raises(InputError, match="up to step 9"):
        trained(recipe=blob_recipe(poisoned), non_finite_limit=4, resume=True)


@pytest.mark.parametrize("channels_last", [False, True])
def test_bfloat16_learns_with_float32_weights(trained, blob_recipe, channels_last):
    recipe, seen = blob_recipe(), set()
    recipe.model[0].register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    _, history, out = trained(recipe=recipe, precision="bfloat16", channels_last=channels_last)
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in export(out).values()} == {torch.float32}
    assert history.rows[-1].losses["loss"] < 0.8 * history.rows[0].losses["loss"]


def test_precision_auto_follows_the_instructions_of_the_processor(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert devices.uses_bfloat16("auto", cpu)
    assert not devices.uses_bfloat16("float32", cpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    assert not devices.uses_bfloat16("auto", cpu)
    assert devices.uses_bfloat16("bfloat16", cpu)
    assert not devices.uses_bfloat16("auto", torch.device("mps"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not devices.uses_bfloat16("auto", cpu)


def test_the_device_is_the_best_at_hand_or_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.pick_device("auto") == torch.device("mps")
    with pytest.raises(InputError, match="offers no cuda device; choose auto or cpu"):
        devices.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.pick_device("auto") == devices.pick_device("cuda") == torch.device("cuda")


def test_tensors_are_moved_inside_a_sample_and_the_rest_is_left():
    sample = {"a": [torch.zeros(2), (torch.ones(1, 2, 3, 3, 3), "word")], "b": 5}
    moved = devices.to_device(sample, torch.device("meta"), channels_last=True)
    assert moved["a"][0].device.type == moved["a"][1][0].device.type == "meta"
    assert moved["a"][1][0].is_contiguous(memory_format=torch.channels_last_3d)
    assert (moved["a"][1][1], moved["b"]) == ("word", 5)


def test_the_learning_rate_rises_and_falls_along_the_steps():
    settings = Settings(steps=110, learning_rate=2.0, warm_up=10, final_share=0.1)
    assert settings.rate(0) == pytest.approx(0.2)
    assert settings.rate(9) == pytest.approx(2.0)
    assert settings.rate(10) == pytest.approx(2.0)
    assert settings.rate(60) == pytest.approx(1.1)
    assert settings.rate(110) == pytest.approx(0.2)
    rates = [settings.rate(step) for step in range(10, 110)]
    assert rates == sorted(rates, reverse=True)


def test_vectors_do_not_decay(trained, blob_recipe):
    recipe = blob_recipe()
    recipe.loss = lambda sample, rng: {"loss": 0.0 * sum(p.sum() for p in recipe.model.parameters())}
    trained(recipe=recipe, weight_decay=1.0, steps=2)
    start = blob_recipe().model
    torch.testing.assert_close(recipe.model[0].bias, start[0].bias, rtol=0, atol=0)
    assert recipe.model[0].weight.norm() < start[0].weight.norm()


def test_a_clipped_gradient_has_that_norm(trained, blob_recipe):
    norms = {}
    for clip in (1e-3, 0.0):
        recipe = trained(f"clip {clip}", steps=1, clip=clip)[0]
        norms[clip] = torch.stack([p.grad.norm() for p in recipe.model.parameters()]).norm().item()
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert norms[0.0] > 1e-2


def test_the_gradient_is_the_mean_over_the_samples_of_a_step(trained, blob_recipe):
    recipe = blob_recipe()
    recipe.loss = lambda sample, rng: {"loss": sample["truth"].shape[-1] * recipe.model[3].bias.sum()}
    trained(recipe=recipe, steps=1, accumulate=3, clip=0.0)
    assert recipe.model[3].bias.grad.item() == pytest.approx((6 + 7 + 8) / 3)


def test_frozen_weights_stay(trained, blob_recipe):
    recipe = blob_recipe()
    recipe.model[0].requires_grad_(False)
    trained(recipe=recipe, steps=3)
    assert torch.equal(recipe.model[0].weight, blob_recipe().model[0].weight)
    assert not torch.equal(recipe.model[3].weight, blob_recipe().model[3].weight)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "steps of 1 or more, got 0"),
        ({"accumulate": 0}, "accumulate of 1 or more"),
        ({"learning_rate": math.nan}, "learning_rate of 0 or more, got nan"),
        ({"workers": -1}, "workers of 0 or more, got -1"),
        ({"average": 1.0}, "below 1, got 1.0"),
        ({"max_seconds": 0.0}, "above 0 seconds, got 0.0"),
    ],
)
def test_settings_outside_their_range_are_told(settings, change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(settings, **change)


def test_a_place_that_cannot_be_a_folder_is_told(settings, blob_recipe, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be made"):
        next(train(blob_recipe(), settings, tmp_path / "file" / "run"))
