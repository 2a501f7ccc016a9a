"""``voxelsmith weights``: what ships, what can be fetched, and whether it is intact."""

import os
import pty
from contextlib import contextmanager

import pytest

from file_server import serving
from toy_catalogue import LICENCE, build_catalogue
from toy_zoo import build_zoo
from voxelsmith.weights import containers
from voxelsmith.weights.zoo import OFFLINE, locate


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    return build_zoo(tmp_path, monkeypatch)


@pytest.fixture
def giant(tmp_path, monkeypatch, zoo):
    with serving() as server:
        yield build_catalogue(tmp_path, monkeypatch, server)


class TestList:
    def test_it_tells_all_of_the_manifest_and_where_the_file_lies(self, command, zoo, giant):
        done = command("weights", "list", "--json")
        assert (done.status, done.err) == (0, "")
        toy, other = (done.record["weights"][name] for name in ("toy", "giant"))
        assert toy == toy | zoo.record | {"path": str(zoo.file), "state": "shipped", "lacking": []}
        assert (other["state"], other["path"], other["exact"]) == ("not installed", None, False)
        assert (other["licence"], other["lacking"]) == (LICENCE, ["net.bin", "words.txt"])

    def test_for_people(self, command, zoo, giant):
        assert command("weights", "list").out.splitlines() == [
            f"toy\tToy network\tshipped\t{zoo.record['bytes']} bytes\tBSD-3-Clause\t{zoo.file}",
            f"giant\tGiant network\tnot installed\tabout 1.05 MB\t{LICENCE}\t-",
        ]

    def test_a_missing_file_is_listed_as_missing(self, command, zoo, giant):
        zoo.file.unlink()
        assert command("weights", "list", "--json").record["weights"]["toy"]["path"] is None
        assert "\tmissing\t" in command("weights", "list").out

    def test_what_was_fetched_has_its_file(self, command, giant):
        command("weights", "get", "giant", "--yes")
        record = command("weights", "list", "--json").record["weights"]["giant"]
        assert (record["state"], record["path"]) == ("installed", str(giant.place / "net.bin"))


class TestGet:
    def test_it_downloads_after_a_yes_given_beforehand(self, command, giant):
        done = command("weights", "get", "giant", "--yes", "--json")
        assert (done.status, done.err) == (0, "")
        assert done.record == {"name": "giant", "path": str(giant.place / "net.bin")}
        assert locate("giant").read_bytes() == giant.network
        assert command("weights", "get", "giant", "--yes").out == f"giant: {giant.place / 'net.bin'}\n"
        assert command("weights", "get", "giant", "--yes", "--quiet").out == ""

    def test_where_nobody_can_be_asked_it_tells_what_to_agree_to(self, refused, giant):
        sentence = refused("weights", "get", "giant", "--json")
        for part in ("about 1.05 MB", f"{giant.server.url}/page", "the page names none", "--yes"):
            assert part in sentence
        assert giant.server.requests == []

    @pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
    def test_on_a_terminal_it_asks(self, command, giant, monkeypatch, answer, status):
        theirs, ours = pty.openpty()
        os.write(theirs, f"{answer}\n".encode())
        with open(ours) as terminal:
            monkeypatch.setattr("sys.stdin", terminal)
            done = command("weights", "get", "giant")
        os.close(theirs)
        assert done.status == status
        assert "the page names none" in done.err
        assert (giant.place / "net.bin").exists() == (status == 0)

    def test_offline_it_refuses(self, refused, giant, monkeypatch):
        monkeypatch.setenv(OFFLINE, "1")
        assert f"{OFFLINE} forbids the network" in refused("weights", "get", "giant", "--yes")

    def test_ctrl_c_keeps_what_has_come(self, command, giant, monkeypatch):
        giant.server.gate.clear()
        monkeypatch.setattr("voxelsmith.cli.weights.progress_bar", lambda *args, **kwargs: interrupting())
        done = command("weights", "get", "giant", "--yes")
        assert (done.status, done.err) == (1, "voxelsmith: Stopped; the same command goes on from there.\n")
        assert (giant.place / "net.bin.part").stat().st_size > 0


@contextmanager
def interrupting():
    """A progress bar during which the user presses Ctrl+C, as soon as something has come."""

    def show(progress):
        if progress.done:
            raise KeyboardInterrupt

    yield show


class TestAdd:
    @pytest.fixture
    def mine(self, giant, tmp_path, monkeypatch):
        monkeypatch.setattr(containers, "recognise", lambda path: "giant")
        file = tmp_path / "mine.pth"
        file.write_bytes(giant.network)
        return file

    @pytest.mark.parametrize("link", [True, False])
    def test_a_file_of_the_users_own(self, command, giant, mine, link):
        done = command("weights", "add", mine, *["--link"] * link, "--json")
        assert done.record == {"name": "giant", "path": str(giant.place / "net.bin")}
        assert locate("giant").is_symlink() == link
        assert locate("giant").read_bytes() == giant.network

    def test_another_network(self, refused, mine, monkeypatch):
        monkeypatch.setattr(containers, "recognise", lambda path: None)
        assert "should hold the weights of Giant network" in refused("weights", "add", mine)


class TestRemove:
    def test_it_needs_a_yes(self, command, refused, giant):
        command("weights", "get", "giant", "--yes")
        assert "--yes" in refused("weights", "remove", "giant")
        assert locate("giant").is_file()
        done = command("weights", "remove", "giant", "--yes", "--json")
        assert done.record["name"] == "giant"
        assert done.record["freed"] >= len(giant.network)
        assert not giant.place.exists()

    def test_what_ships_stays(self, refused, zoo, giant):
        assert "stay" in refused("weights", "remove", "toy", "--yes")
        assert zoo.file.is_file()


class TestVerify:
    @pytest.mark.parametrize("names", [[], ["toy"]])
    def test_intact_weights(self, command, zoo, giant, names):
        done = command("weights", "verify", *names, "--json")
        assert (done.status, done.err, done.record) == (0, "", {"verified": {"toy": str(zoo.file)}})
        assert command("weights", "verify", *names).out == f"toy: intact, {zoo.file}\n"
        assert command("weights", "verify", *names, "--quiet").out == ""

    @pytest.mark.parametrize("names", [[], ["toy"]])
    def test_damaged_weights_are_refused(self, refused, zoo, giant, names):
        zoo.file.write_bytes(b"something else")
        assert "damaged" in refused("weights", "verify", *names, "--json")

    @pytest.mark.parametrize("names", [[], ["giant"]])
    def test_fetched_weights(self, command, refused, giant, names):
        command("weights", "get", "giant", "--yes")
        assert command("weights", "verify", *names, "--json").record["verified"]["giant"] == str(
            giant.place / "net.bin"
        )
        (giant.place / "net.bin").write_bytes(giant.network[::-1])
        assert "another file" in refused("weights", "verify", *names)


@pytest.mark.parametrize("subcommand", ["list", "verify"])
def test_no_weights_at_all(command, zoo, giant, subcommand):
    zoo.write()
    (giant.place.parents[2] / "zoo.toml").write_text("")
    assert command("weights", subcommand).out == "This version knows no weights.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verify", "dog"], "no weights 'dog'"),
        (["get", "dog", "--yes"], "no weights 'dog'"),
        (["fetch"], "No such command 'fetch'"),
        ([], ""),
    ],
)
def test_wrong_use_is_told(refused, zoo, giant, arguments, sentence):
    assert sentence in refused("weights", *arguments)
