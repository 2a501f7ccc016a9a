"""``voxelsmith weights``: what ships, and whether it is intact."""

import pytest

from toy_zoo import build_zoo


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    return build_zoo(tmp_path, monkeypatch)


def test_the_list_tells_all_of_the_manifest_and_where_the_file_lies(command, zoo):
    done = command("weights", "list", "--json")
    assert (done.status, done.err) == (0, "")
    assert done.record == {"weights": {"toy": zoo.record | {"path": str(zoo.file)}}}


def test_the_list_for_people(command, zoo):
    done = command("weights", "list")
    assert done.out == f"toy\tToy network\t0.0 MiB\tBSD-3-Clause\t{zoo.file}\n"


def test_a_missing_file_is_listed_as_missing(command, zoo):
    zoo.file.unlink()
    assert command("weights", "list", "--json").record["weights"]["toy"]["path"] is None
    assert command("weights", "list").out.endswith("\tmissing\n")


@pytest.mark.parametrize("names", [[], ["toy"]])
def test_intact_weights_are_verified(command, zoo, names):
    done = command("weights", "verify", *names, "--json")
    assert (done.status, done.err, done.record) == (0, "", {"verified": {"toy": str(zoo.file)}})
    assert command("weights", "verify", *names).out == f"toy: intact, {zoo.file}\n"
    assert command("weights", "verify", *names, "--quiet").out == ""


@pytest.mark.parametrize("names", [[], ["toy"]])
def test_damaged_weights_are_refused(refused, zoo, names):
    zoo.file.write_bytes(b"something else")
    assert "damaged" in refused("weights", "verify", *names, "--json")


@pytest.mark.parametrize("subcommand", ["list", "verify"])
def test_no_weights_at_all(command, zoo, subcommand):
    zoo.write()
    assert command("weights", subcommand).out == "No weights ship with this version.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["verify", "dog"], "no weights 'dog'"), (["fetch"], "No such command 'fetch'"), ([], "")],
)
def test_wrong_use_is_told(refused, zoo, arguments, sentence):
    assert sentence in refused("weights", *arguments)
