"""A trained network applied to volumes, its cut and filters, and the files that hand it on."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import load as bundle_load
from safetensors.torch import save_file

from voxelsmith.core.affine import Affine
from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.core.progress import Cancelled, run_job
from voxelsmith.core.resample import reorient
from voxelsmith.core.volume import Volume
from voxelsmith.models.unet import Architecture, UNet, levels_for
from voxelsmith.segment.plan import Normalisation, Plan
from voxelsmith.segment.predictor import Predictor
from voxelsmith.segment.trained import TrainedModel, apply, cut, load, recut
from voxelsmith.segment.trained_export import model_card, save, save_bundle, save_onnx, save_torchscript
from voxelsmith.segment.uncertainty import entropy, next_slice, slice_confidence


def model(dims="2d", **changes):
    """A network with random weights, for voxels of 1 x 1 x 2 mm and slices along the third axis."""
    plan = Plan(
        dims, 2, "RAS", (1.0, 1.0, 2.0), (8 if dims == "3d" else 1, 32, 32), (1, 3), ("a", "b"), Normalisation()
    )
    plan = replace(plan, neighbours=1 if dims == "2.5d" else 0, **changes)
    first = 0 if dims == "3d" else 1
    strides, kernels = levels_for(plan.ordered_spacing[first:], plan.patch[first:])
    architecture = Architecture(inputs=plan.channels, outputs=3, width=4, strides=strides, kernels=kernels)
    torch.manual_seed(0)
    net = UNet(architecture)
    torch.nn.init.normal_(net.head.weight, std=1.0)
    return TrainedModel(plan, architecture, net.state_dict(), "mine", "f00d", {"steps": "7"})


def image(*grid, spacing=(1, 1, 2), seed=0):
    values = np.random.default_rng(seed).normal(size=grid or (40, 36, 10)).astype(np.float32)
    return Volume(values, Affine.from_spacing(spacing), "image")


@pytest.mark.parametrize("dims", ["2d", "2.5d", "3d"])
def test_probabilities_lie_on_the_grid_of_the_image(dims):
    reports = []
    volume = image()
    found = run_job(apply(model(dims), volume, "cpu"), reports.append)
    assert found.probabilities.shape == (2, *volume.grid)
    assert found.probabilities.dtype == np.float16
    assert found.labels.same_grid(volume)
    assert found.labels.names == {1: "a", 3: "b"}
    assert (found.axis, found.confidence.shape) == (2, (10,))
    assert (found.provenance.engine, found.provenance.support) == ("trained", ("f00d",))
    assert found.provenance.image == volume.fingerprint()
    assert found.notes == ()
    done = [p.done for p in reports]
    assert len(done) >= 4
    assert done == sorted(done)


@pytest.mark.parametrize("axcodes", ["LPS", "IPL", "SRA"])
def test_the_answer_turns_with_the_image(axcodes):
    volume = image()
    straight = run_job(apply(model(), volume, "cpu"))
    turned = run_job(apply(model(), reorient(volume, axcodes), "cpu"))
    back = reorient(turned.labels, "RAS")
    np.testing.assert_array_equal(np.asarray(back.array), np.asarray(straight.labels.array))
    assert turned.labels.array.any()
    np.testing.assert_allclose(np.sort(turned.confidence), np.sort(straight.confidence), rtol=1e-5)


def test_a_slice_by_itself_is_that_of_the_volume():
    one = model()
    volume = image(50, 70, 6, spacing=(0.5, 0.5, 2))
    region = one.plan.region(volume)
    assert region.grid == (25, 35, 6)
    working = one.plan.working(volume, region)
    alone = Predictor(one.network(), one.plan).slice(working, region, 4)
    whole = run_job(apply(one, volume, "cpu")).probabilities[..., 4]
    assert alone.shape == (2, 50, 70)
    np.testing.assert_allclose(alone, whole, atol=2e-3)


def test_other_voxel_sizes_are_resampled_knowingly():
    fine = run_job(apply(model(), image(80, 72, 10, spacing=(0.5, 0.5, 2)), "cpu"))
    assert fine.notes == ()
    coarse = run_job(apply(model(), image(20, 18, 10, spacing=(2, 2, 2)), "cpu"))
    assert coarse.notes[0].startswith("The model was trained on voxels of 1 x 1 x 2 mm and this image gives 2 x 2 x 2")
    assert run_job(apply(model("3d"), image(40, 36, 5, spacing=(1, 1, 4)), "cpu")).notes


def test_blocks_blend_into_one_another():
    one = model("3d")
    volume = image(40, 36, 21, seed=3)
    working = one.plan.working(volume, one.plan.region(volume))
    likely = np.zeros((2, *working.shape), np.float32)
    shares = list(Predictor(one.network(), one.plan).fill(likely, working))
    assert len(shares) > 8
    assert shares[-1] == 1
    assert likely.min() > 0
    assert likely.max() < 1


def test_it_can_be_cancelled_and_refuses_what_it_cannot_read():
    with pytest.raises(Cancelled):
        run_job(apply(model(), image(), "cpu"), lambda p: p.done < 40)
    with pytest.raises(InputError, match="3-D image of real numbers, got 4 axes"):
        run_job(apply(model(), Volume(np.zeros((4, 4, 4, 2)), extra_axis="time"), "cpu"))
    with pytest.raises(InputError, match="constant"):
        run_job(apply(model(), Volume(np.ones((8, 8, 8))), "cpu"))
    holes = image()
    holes.array[3, 3, 3] = np.nan
    assert np.isfinite(run_job(apply(model(), holes, "cpu")).probabilities).all()


def test_the_cut_takes_the_likeliest_class_above_the_threshold():
    p = np.array([[[[0.6, 0.3, 0.2]]], [[[0.3, 0.4, 0.2]]]])
    assert cut(p, (1, 3)).tolist() == [[[1, 0, 0]]]
    assert cut(p, (1, 3), 0.35).tolist() == [[[1, 3, 0]]]
    assert cut(p, (1, 3), 0.1).tolist() == [[[1, 3, 1]]]
    with pytest.raises(InputError, match="between 0 and 1, got 1"):
        cut(p, (1, 3), 1)


def test_filters_work_class_by_class():
    p = np.zeros((2, 12, 5, 5), np.float16)
    p[0, :5] = 0.9
    p[0, 2, 2, 2] = 0.1
    p[0, 10, 0, 0] = 0.9
    p[1, 7:9] = 0.9
    filled = cut(p, (1, 3), fill=True)
    assert filled[2, 2, 2] == 1
    large = cut(p, (1, 3), largest_only=True)
    assert large[10, 0, 0] == 0
    assert (large == 3).sum() == 50
    assert (cut(p, (1, 3), least_voxels=51) == 3).sum() == 0


def test_a_proposal_is_cut_anew_without_a_network():
    found = run_job(apply(model(), image(), "cpu"))
    low, high = (np.count_nonzero(recut(found, threshold).labels.array) for threshold in (0.2, 0.8))
    assert low > np.count_nonzero(found.labels.array) > high
    np.testing.assert_array_equal(recut(found).labels.array, found.labels.array)


def test_entropy_is_largest_where_all_is_as_likely():
    p = np.array([[1.0, 1 / 3, 0.5, 0.0], [0.0, 1 / 3, 0.5, 0.0]])
    np.testing.assert_allclose(entropy(p), [0, 1, np.log(2) / np.log(3), 0], atol=1e-4)


def test_the_least_sure_slice_is_next_but_no_neighbour():
    p = np.zeros((1, 8, 8, 5), np.float32)
    p[0, :4, :, 0] = 1
    p[0, :4, :, 2] = 0.6
    p[0, :, :, 4] = 0.49
    sure = slice_confidence(p, 2)
    assert sure[0] == sure[1] == 1
    assert sure[2] == pytest.approx((2 * 32 * 0.6 + 10) / (32 * 0.6 + 32 + 10))
    assert sure[4] < sure[2] < 1
    assert next_slice(sure, {0}) == 4
    assert next_slice(sure, {0, 3}) in (1, 2, 4)
    assert next_slice(np.array([1, 0.2, 0.5, 0.9], np.float32), {0}) == 2
    assert next_slice(sure, range(5)) is None


def test_a_file_holds_all_that_it_takes(tmp_path):
    one = model()
    again = load(save(one, tmp_path / "model.safetensors"))
    assert (again.plan, again.architecture) == (one.plan, one.architecture)
    assert (again.name, again.fingerprint, again.details) == ("mine", "f00d", {"steps": "7"})
    first, second = (run_job(apply(m, image(), "cpu")).probabilities for m in (one, again))
    np.testing.assert_array_equal(first, second)


def test_a_file_of_something_else_is_told(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    for name in ("other", "text", "missing"):
        with pytest.raises(FormatError, match="export it again, or name its run folder"):
            load(tmp_path / f"{name}.safetensors")


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("dims", "activation"), [("2d", "softmax"), ("2.5d", "sigmoid"), ("3d", "softmax")])
def test_other_runtimes_give_the_same_probabilities(tmp_path, dims, activation):
    one = model(dims, activation=activation)
    grid = (16, 48, 64) if dims == "3d" else (48, 64)
    x = np.random.default_rng(0).normal(size=(2, one.plan.channels, *grid)).astype(np.float32)
    at_once = replace(one.plan, patch=(16, 48, 64))
    expected = Predictor(one.network(), at_once)(x)
    session = onnxruntime.InferenceSession(str(save_onnx(one, tmp_path / "model.onnx")))
    found = session.run(None, {"image": x})[0]
    np.testing.assert_allclose(found[:, 1:], expected, atol=1e-4)
    described = json.loads(session.get_modelmeta().custom_metadata_map["voxelsmith"])
    assert Plan.from_record(described["plan"]) == one.plan
    assert described["sides of a window"] == ([8, 32, 32] if dims == "3d" else [32, 32])
    script = torch.jit.load(str(save_torchscript(one, tmp_path / "model.ts")))
    np.testing.assert_allclose(script(torch.from_numpy(x))[:, 1:].detach().numpy(), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")
def test_a_bundle_has_the_form_that_monai_reads(tmp_path):
    folder = save_bundle(model(), tmp_path / "bundle")
    about = json.loads((folder / "configs" / "metadata.json").read_text())
    assert about["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "a", "2": "b"}
    assert "- 3: b" in (folder / "docs" / "README.md").read_text()
    assert load(folder / "models" / "model.safetensors").name == "mine"
    network, _, _ = bundle_load("bundle", bundle_dir=str(tmp_path), load_ts_module=True)
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(InputError, match="is there already"):
        save_bundle(model(), folder)


def test_the_card_says_how_brightness_is_scaled():
    assert "percentile" in model_card(model())
    assert "windows of 32 x 32." in model_card(model())
    assert "-100 and 300 become -1 and 1" in model_card(model(normalisation=Normalisation(-100, 300)))
