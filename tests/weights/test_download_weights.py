"""Downloads: with consent only, whole or not at all, gone on with where they stopped, never of another file."""

import shutil
import subprocess
import sys
from hashlib import sha256
from types import SimpleNamespace

import pytest

from voxelsmith.core.errors import InputError, ModelUnavailableError, ResourceError
from voxelsmith.core.progress import run_job
from voxelsmith.weights import cache, store
from voxelsmith.weights.zoo import OFFLINE, download, installed, locate, models, verify


def get():
    return run_job(download("giant", consent=True))


def names(place):
    return sorted(path.name for path in place.iterdir())


def start_and_cancel(giant):
    """Download the first pieces, then stop; returns how many bytes are there."""
    giant.server.gate.clear()
    job = download("giant", consent=True)
    for progress in job:
        if progress.done:
            break
    job.close()
    giant.server.gate.set()
    return (giant.place / "net.bin.part").stat().st_size


WHOLE = ["net.bin", "net.bin.sha256", "words.txt", "words.txt.sha256"]


class TestWhole:
    def test_all_files_arrive_pinned_and_nothing_else_is_left(self, giant):
        reports = []
        path = run_job(download("giant", consent=True), lambda p: reports.append(p))
        assert path == locate("giant") == giant.place / "net.bin"
        assert path.read_bytes() == giant.network
        assert locate("giant", "words.txt").read_bytes() == giant.words
        assert names(giant.place) == WHOLE
        pin = (giant.place / "net.bin.sha256").read_text()
        assert pin == f"{sha256(giant.network).hexdigest()}  net.bin\n"
        assert (reports[-1].done, reports[-1].total) == (len(giant.words), len(giant.words))
        done = [p.done for p in reports if p.message.endswith(", net.bin")]
        assert done == sorted(done)
        assert done[-1] == len(giant.network)
        assert len(set(done)) > 5

    def test_a_second_one_asks_the_server_for_nothing(self, giant):
        get()
        asked = len(giant.server.requests)
        get()
        assert len(giant.server.requests) == asked

    def test_only_what_is_lacking_or_damaged_is_fetched(self, giant):
        get()
        (giant.place / "words.txt").write_bytes(b"other")
        giant.server.requests.clear()
        get()
        assert [path for path, _ in giant.server.requests] == ["/words.txt"]
        assert locate("giant", "words.txt").read_bytes() == giant.words

    def test_a_server_that_does_not_say_how_much_comes(self, giant):
        giant.server.says_length = False
        assert get().read_bytes() == giant.network


class TestConsent:
    def test_without_it_size_source_and_licence_are_told_and_nothing_is_asked_of_the_network(self, giant):
        with pytest.raises(InputError, match=r"about 1\.05 MB from http.*/page;.*Licence: unclear: the page"):
            download("giant", consent=False)
        assert giant.server.requests == []
        assert not giant.place.exists()

    def test_offline_means_offline(self, giant, monkeypatch):
        monkeypatch.setenv(OFFLINE, "1")
        with pytest.raises(ModelUnavailableError, match=f"{OFFLINE} forbids the network"):
            download("giant", consent=True)
        assert giant.server.requests == []
        monkeypatch.setenv(OFFLINE, "0")
        assert get().is_file()

    def test_what_is_there_is_found_offline(self, giant, monkeypatch):
        path = get()
        monkeypatch.setenv(OFFLINE, "1")
        assert locate("giant") == path


class TestResume:
    def test_after_a_broken_connection(self, giant):
        giant.server.drop_after = 300_000
        with pytest.raises(ModelUnavailableError, match=r"broke off after .* kB of 1\.05 MB .*go on"):
            get()
        assert not installed("giant")
        have = (giant.place / "net.bin.part").stat().st_size
        assert 0 < have <= 300_000
        (model,) = [m for m in models() if m.name == "giant"]
        assert (model.state, model.fetched) == ("not installed", have)
        giant.server.drop_after = None
        assert get().read_bytes() == giant.network
        assert giant.server.ranges == [None, f"bytes={have}-", None]
        assert names(giant.place) == WHOLE

    def test_after_a_cancel(self, giant):
        have = start_and_cancel(giant)
        assert 0 < have < len(giant.network)
        assert get().read_bytes() == giant.network
        assert giant.server.ranges == [None, f"bytes={have}-", None]

    def test_a_complete_part_needs_no_request(self, giant):
        job = download("giant", consent=True)
        for progress in job:
            if progress.message == "checking the file":
                break
        job.close()
        giant.server.requests.clear()
        assert get().read_bytes() == giant.network
        assert [path for path, _ in giant.server.requests] == ["/words.txt"]

    def test_another_file_at_the_source_is_not_appended(self, giant):
        start_and_cancel(giant)
        giant.server.files["/net.bin"] = other = giant.network[::-1]
        assert get().read_bytes() == other

    def test_nor_if_the_server_ignores_if_range(self, giant, monkeypatch):
        start_and_cancel(giant)
        giant.server.files["/net.bin"] = other = giant.network[::-1]
        monkeypatch.setattr(giant.server.RequestHandlerClass, "_start", lambda self, tag: start_of(self.headers))
        assert get().read_bytes() == other

    def test_nor_if_it_is_shorter_than_the_part(self, giant):
        giant.write(about=len(giant.network) // 2)
        start_and_cancel(giant)
        giant.server.files["/net.bin"] = other = giant.network[:300_000]
        with (giant.place / "net.bin.part").open("ab") as part:
            part.write(bytes(400_000))
        assert get().read_bytes() == other

    def test_a_server_without_ranges_begins_anew(self, giant):
        giant.server.honours_ranges = False
        start_and_cancel(giant)
        assert get().read_bytes() == giant.network

    def test_without_a_tag_nobody_knows_of_which_file_the_part_is(self, giant):
        giant.server.sends_tags = False
        start_and_cancel(giant)
        assert get().read_bytes() == giant.network
        assert giant.server.ranges == [None] * 3

    def test_a_new_address_begins_anew(self, giant):
        start_and_cancel(giant)
        giant.server.files["/new.bin"] = other = giant.network[::-1]
        giant.write(url=f"{giant.server.url}/new.bin")
        assert get().read_bytes() == other
        assert giant.server.ranges == [None] * 3


def start_of(headers):
    wanted = headers.get("Range")
    return None if wanted is None else int(wanted.removeprefix("bytes=").rstrip("-"))


class TestAnotherFile:
    def test_a_known_digest_refuses_it_and_nothing_is_left(self, giant):
        giant.write(sha256=sha256(giant.network).hexdigest())
        giant.server.files["/net.bin"] = giant.network[::-1]
        with pytest.raises(ModelUnavailableError, match=r"was deleted; .* another one: try again\.$"):
            get()
        assert names(giant.place) == []
        giant.server.files["/net.bin"] = giant.network
        assert get().read_bytes() == giant.network

    def test_the_first_download_pins_it(self, giant):
        path = get()
        path.unlink()
        giant.server.files["/net.bin"] = giant.network[::-1]
        with pytest.raises(ModelUnavailableError, match="if you trust it, `voxelsmith weights remove giant` first"):
            get()
        assert not path.exists()

    def test_a_changed_file_is_not_used_and_is_fetched_again(self, giant):
        path = get()
        data = bytearray(giant.network)
        data[1000] ^= 1
        path.write_bytes(data)
        for refused in (lambda: locate("giant"), lambda: run_job(verify("giant"))):
            with pytest.raises(ModelUnavailableError, match=r"net\.bin should have SHA-256 .* get it again"):
                refused()
        assert get().read_bytes() == giant.network

    @pytest.mark.parametrize("says_length", [True, False])
    @pytest.mark.parametrize("field", ["bytes", "about"])
    def test_a_file_of_another_size_is_refused(self, giant, field, says_length):
        giant.server.says_length = says_length
        giant.write(**{"about": None, field: 300_000})
        with pytest.raises(ModelUnavailableError, match=r"300000 bytes, but .* sends 1048576"):
            get()
        assert names(giant.place) == []

    def test_a_page_to_log_in_is_not_a_network(self, giant):
        giant.server.content_type = "text/html; charset=utf-8"
        with pytest.raises(ModelUnavailableError, match="a web page came; log in"):
            get()
        assert names(giant.place) == []


class TestNetwork:
    @pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (500, "Internal Server Error"), (403, "")])
    def test_a_refusal_is_told_with_its_number(self, giant, status, reason):
        giant.server.status = status
        with pytest.raises(ModelUnavailableError, match=f"answered {status} {reason}.*by hand"):
            get()

    def test_no_connection(self, giant):
        giant.server.server_close()
        giant.server.shutdown()
        with pytest.raises(ModelUnavailableError, match=r"127\.0\.0\.1 cannot be reached"):
            get()

    def test_a_proxy_of_the_environment_is_used(self, giant, monkeypatch):
        giant.write(url="http://weights.invalid/net.bin")
        monkeypatch.setenv("http_proxy", giant.server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert get().read_bytes() == giant.network
        assert giant.server.requests[0][0] == "http://weights.invalid/net.bin"

    def test_a_silent_server_can_be_left(self, giant):
        giant.server.gate.clear()
        job = download("giant", consent=True)
        seen = [next(job) for _ in range(30)]
        job.close()
        assert seen[-1].done == seen[-2].done < len(giant.network)


class TestDisk:
    def test_a_full_disk_is_told_before_anything_is_written(self, giant, monkeypatch):
        monkeypatch.setattr(cache.shutil, "disk_usage", lambda place: SimpleNamespace(free=50_000_000))
        with pytest.raises(ResourceError, match=rf"1\.05 MB more are needed in .* 50 MB left.*{cache.CACHE}"):
            get()
        assert names(giant.place) == []

    def test_a_folder_that_cannot_be_made(self, giant, tmp_path):
        (tmp_path / "cache").write_text("a file")
        with pytest.raises(ResourceError, match="cannot be written"):
            get()

    def test_two_programs_do_not_mix(self, giant):
        script = (
            "import sys; from filelock import FileLock\nwith FileLock(sys.argv[1]): print('held', flush=True); input()"
        )
        lock = giant.place.with_name("giant.lock")
        lock.parent.mkdir(parents=True)
        other = subprocess.Popen(
            [sys.executable, "-c", script, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with other:
            assert other.stdout.readline() == "held\n"
            with pytest.raises(ResourceError, match="Another program"):
                get()
            assert giant.server.requests == []
            other.communicate("\n")
        assert get().is_file()


def test_the_users_own_folder_is_filled_by_nobody(giant, tmp_path, monkeypatch):
    path = get()
    own = tmp_path / "own"
    shutil.copytree(giant.place, own / "giant")
    (own / "giant" / "words.txt").unlink()
    monkeypatch.setenv(store.LOCAL_FOLDER, str(own))
    shutil.rmtree(giant.place)
    assert get() == own / "giant" / "net.bin"
    assert names(giant.place) == ["words.txt", "words.txt.sha256"]
    (own / "giant" / "net.bin").write_bytes(b"other")
    with pytest.raises(ModelUnavailableError, match=r"another file: replace it\."):
        get()
    assert not path.exists()
