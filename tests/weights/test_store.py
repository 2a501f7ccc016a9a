"""Weights on disk: looked up, checked, read once, written half as wide."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import safe_open

from toy_zoo import make_record
from voxelsmith.core.errors import InputError, ModelUnavailableError, ResourceError
from voxelsmith.weights import load, manifest, path, save, store, verify


@pytest.fixture
def local(zoo, monkeypatch):
    """A folder of the user's own, named by the environment variable."""
    folder = zoo.folder / "mine"
    folder.mkdir()
    monkeypatch.setenv(store.LOCAL_FOLDER, str(folder))
    return folder


def flip_last_byte(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_weights_come_back_as_float32_rounded_to_half(zoo):
    loaded = load("toy")
    assert set(loaded) == set(zoo.state)
    assert loaded["conv.weight"].dtype == torch.float32
    torch.testing.assert_close(loaded["conv.weight"], zoo.state["conv.weight"].half().float(), rtol=0, atol=0)
    torch.testing.assert_close(loaded["conv.weight"], zoo.state["conv.weight"], rtol=1e-3, atol=1e-6)


def test_counters_stay_whole_numbers(zoo):
    counter = load("toy")["norm.num_batches_tracked"]
    assert (counter.dtype, counter.item()) == (torch.int64, 2**40 + 1)


def test_the_package_folder_is_where_weights_lie(zoo):
    assert path("toy") == verify("toy") == zoo.file


def test_a_local_folder_comes_first(zoo, local):
    assert path("toy") == zoo.file
    shutil.copy(zoo.file, local)
    assert path("toy") == verify("toy") == local / "toy.safetensors"
    zoo.file.unlink()
    assert set(load("toy")) == set(zoo.state)


def test_a_local_file_must_be_the_published_one(zoo, local):
    save({"conv.weight": torch.zeros(3)}, local / "toy.safetensors", {})
    for refused in (verify, load):
        with pytest.raises(ModelUnavailableError, match=f"replace it or unset {store.LOCAL_FOLDER}"):
            refused("toy")


def test_a_local_folder_that_is_none_is_told(zoo, monkeypatch):
    monkeypatch.setenv(store.LOCAL_FOLDER, str(zoo.folder / "nowhere"))
    with pytest.raises(ModelUnavailableError, match="nowhere"):
        load("toy")


def test_a_tampered_file_is_refused(zoo):
    flip_last_byte(zoo.file)
    assert path("toy") == zoo.file
    for refused in (verify, load):
        with pytest.raises(ModelUnavailableError, match="damaged or of another version, so reinstall"):
            refused("toy")


def test_a_truncated_file_is_told_by_its_size(zoo):
    zoo.file.write_bytes(zoo.file.read_bytes()[:50])
    with pytest.raises(ModelUnavailableError, match=rf"have {zoo.record['bytes']} bytes .* has 50 "):
        load("toy")


def test_a_missing_file_is_told_with_a_remedy(zoo):
    zoo.file.unlink()
    for refused in (path, verify, load):
        with pytest.raises(ModelUnavailableError, match=f"{zoo.file}.*{store.LOCAL_FOLDER}"):
            refused("toy")


def test_unknown_weights_are_refused(zoo):
    for refused in (path, verify, load):
        with pytest.raises(ModelUnavailableError, match="'dog'"):
            refused("dog")


def test_a_file_is_read_once_for_all_threads(zoo, monkeypatch):
    reads = []
    read_bytes = type(zoo.file).read_bytes
    monkeypatch.setattr(type(zoo.file), "read_bytes", lambda self: (reads.append(self), read_bytes(self))[1])
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(load, ["toy"] * 16))
    assert reads == [zoo.file]
    assert len({r["conv.weight"].data_ptr() for r in results}) == 1


def test_a_caller_may_take_tensors_out_of_its_own_dictionary(zoo):
    load("toy").clear()
    assert set(load("toy")) == set(zoo.state)


def test_new_weights_under_the_same_name_are_not_the_cached_ones(zoo):
    load("toy")
    save({"conv.weight": torch.ones(2)}, zoo.file, {})
    data = zoo.file.read_bytes()
    zoo.write(make_record(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))
    assert load("toy")["conv.weight"].tolist() == [1, 1]


def test_metadata_travel_in_the_file(zoo):
    with safe_open(zoo.file, "pt") as opened:
        assert opened.metadata() == {"voxelsmith": "0.1.0"}
        assert opened.get_tensor("conv.weight").dtype == torch.float16


def test_the_same_weights_give_the_same_bytes(zoo, tmp_path):
    again = tmp_path / "again.safetensors"
    save(dict(reversed(zoo.state.items())), again, {"voxelsmith": "0.1.0"})
    assert again.read_bytes() == zoo.file.read_bytes()


def test_full_precision_when_asked(tmp_path):
    save({"w": torch.tensor([0.1, 1e6])}, tmp_path / "w.safetensors", {}, half=False)
    with safe_open(tmp_path / "w.safetensors", "pt") as opened:
        assert torch.equal(opened.get_tensor("w"), torch.tensor([0.1, 1e6]))


def test_tied_and_transposed_tensors_are_written(tmp_path):
    matrix = torch.arange(6.0).reshape(2, 3)
    save({"a": matrix, "b": matrix, "t": matrix.T}, tmp_path / "w.safetensors", {}, half=False)
    with safe_open(tmp_path / "w.safetensors", "pt") as opened:
        assert torch.equal(opened.get_tensor("b"), matrix)
        assert torch.equal(opened.get_tensor("t"), matrix.T)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_what_half_precision_cannot_hold_is_refused(tmp_path, value):
    target = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match=r"head\.bias"):
        save({"head.bias": torch.tensor([0.0, value])}, target, {})
    assert not target.exists()


def test_large_weights_are_refused_and_the_old_file_stays(zoo):
    before = zoo.file.read_bytes()
    elements = manifest.MAX_BYTES // 2
    with pytest.raises(InputError, match=r"may take 16 MiB, these take 16\.0 MiB"):
        save({"w": torch.zeros(elements)}, zoo.file, {})
    assert zoo.file.read_bytes() == before
    save({"w": torch.zeros(elements)}, zoo.folder / "large.safetensors", {}, most=None)
    assert (zoo.folder / "large.safetensors").stat().st_size > manifest.MAX_BYTES
    save({"w": torch.zeros(elements - 512)}, zoo.file, {})
    assert manifest.MAX_BYTES - 2048 < zoo.file.stat().st_size <= manifest.MAX_BYTES


def test_a_missing_folder_is_told(zoo, tmp_path):
    with pytest.raises(ResourceError, match="does not exist"):
        save(zoo.state, tmp_path / "no" / "w.safetensors", {})
