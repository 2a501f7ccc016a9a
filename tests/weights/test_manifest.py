"""The manifest: what it must say of each network, and that the one that ships says it."""

import hashlib
import re

import pytest

from toy_zoo import make_record
from voxelsmith.core.errors import FormatError, ModelUnavailableError
from voxelsmith.weights import entries, entry, manifest, store


def test_entries_say_what_the_file_says(zoo):
    zoo.write(make_record(), make_record(name="toy-2", file="toy2.safetensors", card="toy2.md", title="Second"))
    assert [e.name for e in entries()] == ["toy", "toy-2"]
    assert entry("toy-2").title == "Second"
    assert entry("toy").bytes == 100


def test_an_unknown_name_is_told_the_known_ones(zoo):
    with pytest.raises(ModelUnavailableError, match="no weights 'dog'; choose one of toy"):
        entry("dog")


def test_an_empty_manifest_says_so(zoo):
    zoo.write()
    assert entries() == []
    with pytest.raises(ModelUnavailableError, match="ships none"):
        entry("toy")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Toy Network"}, "name"),
        ({"file": "../toy.safetensors"}, "file"),
        ({"file": "toy.pt"}, "file"),
        ({"card": "cards/toy.md"}, "card"),
        ({"bytes": 0}, "bytes"),
        ({"bytes": True}, "bytes"),
        ({"bytes": manifest.MAX_BYTES + 1}, "bytes"),
        ({"sha256": "0" * 63}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"licence": " "}, "licence"),
        ({"citation": None}, "citation"),
        ({"url": "https://example.org"}, "url"),
    ],
)
def test_a_broken_entry_is_refused_by_its_field(zoo, changes, named):
    zoo.write(make_record(**changes))
    with pytest.raises(FormatError, match=rf"\b{named}\b"):
        entries()


def test_a_lacking_field_is_refused(zoo):
    record = make_record()
    del record["licence"]
    zoo.write(record)
    with pytest.raises(FormatError, match=r"needs .*licence"):
        entries()


@pytest.mark.parametrize("field", ["name", "file", "card"])
def test_two_entries_share_nothing(zoo, field):
    other = {"name": "other", "file": "other.safetensors", "card": "other.md"}
    del other[field]
    zoo.write(make_record(), make_record(**other))
    with pytest.raises(FormatError, match=f"the {field} 'toy"):
        entries()


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]"])
def test_a_damaged_manifest_is_told(zoo, text):
    manifest.MANIFEST.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match="reinstall"):
        entries()


def test_a_missing_manifest_is_told(zoo):
    manifest.MANIFEST.unlink()
    with pytest.raises(FormatError, match=r"manifest\.json cannot be read"):
        entries()


def test_everything_that_ships_is_intact_and_has_a_card():
    listed = entries()
    for each in listed:
        data = (store.FILES / each.file).read_bytes()
        assert len(data) == each.bytes <= manifest.MAX_BYTES
        assert hashlib.sha256(data).hexdigest() == each.sha256
        card = (store.FILES / each.card).read_text(encoding="utf-8")
        assert set(manifest.CARD_HEADINGS) <= set(re.findall(r"^## (.+)$", card, re.MULTILINE))
    shipped = {p.name for p in store.FILES.iterdir()} if store.FILES.is_dir() else set()
    assert shipped == {name for each in listed for name in (each.file, each.card)}
