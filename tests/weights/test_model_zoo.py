"""Weights that do not ship: listed, added, verified and removed; the catalogue tells what has to be known of them."""

import os
import shutil
import sys
from hashlib import sha256
from types import ModuleType, SimpleNamespace

import pytest
import torch

from voxelsmith.core.errors import FormatError, InputError, ModelUnavailableError, ResourceError
from voxelsmith.core.progress import run_job
from voxelsmith.weights import cache, catalogue, store
from voxelsmith.weights.zoo import add, download, entry, installed, locate, models, remove, terms, verify


@pytest.fixture
def recognised(monkeypatch):
    """What the reader of containers says of every file."""
    answer = SimpleNamespace(name="giant")
    stub = ModuleType("voxelsmith.weights.containers")
    stub.recognise = lambda path: answer.name
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    return answer


@pytest.fixture
def mine(giant, tmp_path):
    """A file of the user's own, named as he liked."""
    file = tmp_path / "mine.pth"
    file.write_bytes(giant.network)
    return file


def model(name):
    return next(m for m in models() if m.name == name)


class TestList:
    def test_what_ships_and_what_can_be_fetched(self, giant, zoo):
        assert [(m.name, m.state) for m in models()] == [("toy", "shipped"), ("giant", "not installed")]
        assert (model("toy").path, model("toy").bytes, model("toy").exact) == (zoo.file, zoo.record["bytes"], True)
        assert (model("giant").path, model("giant").size_text) == (None, "about 1.05 MB")
        assert model("giant").lacking == ("net.bin", "words.txt")
        assert giant.server.requests == []

    def test_after_the_download(self, giant):
        run_job(download("giant", consent=True))
        found = model("giant")
        assert (found.state, found.path, found.lacking) == ("installed", giant.place / "net.bin", ())
        assert (found.bytes, found.exact) == (len(giant.network) + len(giant.words), True)

    def test_a_lost_file_of_the_package(self, giant, zoo):
        zoo.file.unlink()
        assert (model("toy").state, model("toy").path) == ("missing", None)

    def test_an_unknown_name_is_told_the_known_ones(self, giant):
        for refused in (locate, installed, terms, verify, remove, lambda name: download(name, consent=True)):
            with pytest.raises(ModelUnavailableError, match="no weights 'dog' to be fetched; choose one of giant"):
                refused("dog")

    def test_what_is_not_here_is_told_with_the_way_to_get_it(self, giant):
        assert not installed("giant")
        with pytest.raises(ModelUnavailableError, match=r"Giant network \(net\.bin, about 1\.05 MB\).*get giant"):
            locate("giant")
        with pytest.raises(InputError, match=r"no file 'x'; choose one of net\.bin, words\.txt"):
            locate("giant", "x")

    def test_the_users_own_folder_comes_first(self, giant, tmp_path, monkeypatch):
        run_job(download("giant", consent=True))
        own = tmp_path / "own"
        shutil.copytree(giant.place, own / "giant")
        monkeypatch.setenv(store.LOCAL_FOLDER, str(own))
        assert locate("giant") == own / "giant" / "net.bin"
        assert installed("giant")
        shutil.rmtree(own / "giant")
        assert locate("giant") == giant.place / "net.bin"

    def test_a_file_is_read_once_in_a_process(self, giant, monkeypatch):
        path = run_job(download("giant", consent=True))
        monkeypatch.setattr(cache, "hashing", None)
        assert locate("giant") == path


class TestAdd:
    def test_a_copy_is_independent_of_the_original(self, giant, mine, recognised):
        reports = []
        assert run_job(add(mine), lambda p: reports.append(p)) == "giant"
        mine.unlink()
        assert locate("giant").read_bytes() == giant.network
        assert sorted(p.name for p in giant.place.iterdir()) == ["net.bin", "net.bin.sha256"]
        assert {p.total for p in reports} == {len(giant.network)}
        assert run_job(verify("giant")) == giant.place / "net.bin"

    def test_a_link_follows_the_original(self, giant, mine, recognised):
        run_job(add(mine, link=True))
        assert locate("giant").is_symlink()
        mine.write_bytes(giant.network[::-1])
        with pytest.raises(ModelUnavailableError, match="SHA-256"):
            locate("giant")
        mine.unlink()
        assert not installed("giant")
        remove("giant")
        assert not os.path.lexists(giant.place / "net.bin")

    def test_removing_a_link_leaves_the_original(self, giant, mine, recognised):
        run_job(add(mine, link=True))
        assert remove("giant") < 1000
        assert mine.read_bytes() == giant.network

    def test_a_folder_as_at_the_source_is_taken_whole(self, giant, tmp_path, recognised):
        folder = tmp_path / "page"
        folder.mkdir()
        (folder / "net.bin").write_bytes(giant.network)
        (folder / "words.txt").write_bytes(giant.words)
        run_job(add(folder / "net.bin"))
        assert model("giant").lacking == ()

    def test_a_stranger_beside_a_renamed_file_stays_there(self, giant, mine, recognised):
        mine.with_name("words.txt").write_bytes(b"of another network")
        run_job(add(mine))
        assert model("giant").lacking == ("words.txt",)

    def test_what_goes_with_the_network_is_added_by_its_name(self, giant, mine, recognised, tmp_path):
        words = tmp_path / "words.txt"
        words.write_bytes(giant.words)
        assert run_job(add(words)) == "giant"
        assert not installed("giant")
        run_job(add(mine))
        assert model("giant").lacking == ()
        assert locate("giant", "words.txt").read_bytes() == giant.words

    @pytest.mark.parametrize("name", [None, "other"])
    def test_another_network_is_refused(self, giant, mine, recognised, name):
        recognised.name = name
        with pytest.raises(InputError, match="should hold the weights of Giant network"):
            run_job(add(mine))
        assert not giant.place.exists()

    def test_no_file(self, giant, tmp_path):
        with pytest.raises(InputError, match="nowhere should be a file with weights"):
            add(tmp_path / "nowhere")

    def test_the_file_that_is_used_already(self, giant, mine, recognised):
        run_job(add(mine))
        with pytest.raises(InputError, match="used already"):
            run_job(add(giant.place / "net.bin", link=True))
        assert locate("giant").read_bytes() == giant.network

    @pytest.mark.parametrize("stop", ["full", "cancel"])
    def test_what_does_not_end_well_leaves_the_earlier_file(self, giant, mine, recognised, monkeypatch, stop):
        run_job(add(mine))
        mine.write_bytes(giant.network[::-1])
        if stop == "full":
            monkeypatch.setattr(cache.shutil, "disk_usage", lambda place: SimpleNamespace(free=0))
            with pytest.raises(ResourceError, match="more are needed"):
                run_job(add(mine))
        else:
            job = add(mine)
            assert [next(job).message for _ in range(2)] == ["looking into mine.pth", "copying mine.pth"]
            job.close()
        assert locate("giant").read_bytes() == giant.network
        assert sorted(p.name for p in giant.place.iterdir()) == ["net.bin", "net.bin.sha256"]


class TestVerify:
    def test_a_shipped_network(self, giant, zoo):
        assert run_job(verify("toy")) == zoo.file
        zoo.file.write_bytes(b"other")
        with pytest.raises(ModelUnavailableError, match="damaged"):
            run_job(verify("toy"))

    def test_the_file_is_read_again_even_if_it_looks_unchanged(self, giant):
        path = run_job(download("giant", consent=True))
        times = path.stat()
        path.write_bytes(giant.network[::-1])
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        with pytest.raises(ModelUnavailableError, match="should have SHA-256"):
            run_job(verify("giant"))

    def test_the_other_files_count_too(self, giant):
        run_job(download("giant", consent=True))
        (giant.place / "words.txt").write_bytes(b"other")
        with pytest.raises(ModelUnavailableError, match=r"words\.txt should have"):
            run_job(verify("giant"))

    def test_nothing_is_here(self, giant):
        with pytest.raises(ModelUnavailableError, match="are not on this machine"):
            run_job(verify("giant"))

    def test_a_file_that_nothing_is_known_of(self, giant, tmp_path, monkeypatch):
        file = tmp_path / "own" / "giant" / "net.bin"
        file.parent.mkdir(parents=True)
        file.write_bytes(giant.network)
        monkeypatch.setenv(store.LOCAL_FOLDER, str(tmp_path / "own"))
        digest = sha256(giant.network).hexdigest()
        with pytest.raises(ModelUnavailableError, match=rf"{digest}, .* write it into net\.bin\.sha256"):
            run_job(verify("giant"))
        (file.parent / "net.bin.sha256").write_text(f"{digest}  net.bin\n")
        assert run_job(verify("giant")) == file


class TestRemove:
    def test_everything_is_deleted_and_counted(self, giant):
        run_job(download("giant", consent=True))
        assert remove("giant") >= len(giant.network) + len(giant.words)
        assert not giant.place.exists()
        with pytest.raises(InputError, match="Nothing of Giant network lies in"):
            remove("giant")

    def test_a_part_is_deleted_too(self, giant):
        giant.server.drop_after = 300_000
        with pytest.raises(ModelUnavailableError):
            run_job(download("giant", consent=True))
        remove("giant")
        assert not giant.place.exists()

    def test_files_of_the_users_own_stay(self, giant):
        run_job(download("giant", consent=True))
        (giant.place / "notes.txt").write_text("mine")
        remove("giant")
        assert [p.name for p in giant.place.iterdir()] == ["notes.txt"]

    def test_what_ships_stays(self, giant, zoo):
        with pytest.raises(InputError, match="'toy' ship with napari-voxelsmith and stay"):
            remove("toy")
        assert zoo.file.is_file()

    def test_the_users_own_folder_is_not_touched(self, giant, tmp_path, monkeypatch):
        run_job(download("giant", consent=True))
        own = tmp_path / "own" / "giant"
        own.parent.mkdir()
        shutil.move(giant.place, own)
        monkeypatch.setenv(store.LOCAL_FOLDER, str(own.parent))
        with pytest.raises(InputError, match="is yours"):
            remove("giant")
        assert (own / "net.bin").is_file()


class TestCatalogue:
    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"name": "../net.bin"}, "name"),
            ({"url": "ftp://example.org/net.bin"}, "url"),
            ({"url": "net.bin"}, "url"),
            ({"about": None}, "bytes or about"),
            ({"bytes": 3}, "bytes or about"),
            ({"about": -1}, "bytes or about"),
            ({"sha256": "A" * 64}, "sha256"),
            ({"name": "words.txt"}, "files with different names"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_a_broken_file_is_refused_by_its_field(self, giant, changes, named):
        giant.write(**changes)
        with pytest.raises(FormatError, match=rf"{named}.*reinstall"):
            catalogue.entries()

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('name = "giant"', 'name = "Giant network"'),
            ('licence = "Unclear: the page names none."', 'licence = " "'),
            ('licence = "Unclear: the page names none."', ""),
            ("[[weights]]", "[[weights"),
        ],
    )
    def test_a_broken_entry_is_refused(self, giant, old, new):
        text = catalogue.CATALOGUE.read_text()
        assert old in text
        catalogue.CATALOGUE.write_text(text.replace(old, new))
        with pytest.raises(FormatError, match=r"weights catalogue .*reinstall"):
            catalogue.entries()

    def test_a_name_is_used_once(self, giant):
        catalogue.CATALOGUE.write_text(2 * catalogue.CATALOGUE.read_text())
        with pytest.raises(FormatError, match="a name twice"):
            catalogue.entries()


def test_segvol_is_described_as_its_source_describes_it():
    found = entry("segvol")
    network = found.files[0]
    assert network.url == "https://huggingface.co/BAAI/SegVol/resolve/main/pytorch_model.bin"
    # 180,891,216 floats and 77 whole numbers, before the container's own bytes.
    assert abs(network.size - 723_565_480) < 1e6
    assert {"vocab.json", "merges.txt"} <= {file.name for file in found.files}
    for fact in ("names no licence", "MIT", "non-commercial"):
        assert fact in found.licence
    assert found.modalities == ("CT",)


def test_a_file_of_segvol_is_recognised_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.CACHE, str(tmp_path / "cache"))
    names = (
        "image_encoder.patch_embedding.position_embeddings",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "mask_decoder.txt_align_upscaled_embedding.weight",
        "text_encoder.dim_align.weight",
    )
    torch.save({"model": {f"module.{name}": torch.zeros(2) for name in names}, "epoch": 3}, tmp_path / "mine.pth")
    assert run_job(add(tmp_path / "mine.pth")) == "segvol"
    assert locate("segvol").read_bytes() == (tmp_path / "mine.pth").read_bytes()


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (2_459_114, "2.46 MB"), (999_999, "1 MB"), (3.1e9, "3.1 GB")]
)
def test_sizes_for_people(size, text):
    assert cache.size_text(size) == text
