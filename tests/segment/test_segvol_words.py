"""Words for SegVol: names, word pieces, and embeddings that are kept."""

import json
import sys

import numpy as np
import pytest

from segvol_weights import GOLDEN
from voxelsmith.core.errors import FormatError, ModelUnavailableError, PromptError
from voxelsmith.segment.segvol import tokeniser
from voxelsmith.segment.segvol.text import SENTENCE, WordEmbeddings
from voxelsmith.segment.segvol.words import canonical, matching, names

# Pieces of words with their numbers in the published vocabulary; the last of a word ends in </w>.
PIECES = {
    "a</w>": 320,
    "computer": 11639,
    "ized</w>": 704,
    "tom": 7690,
    "ogra": 999,
    "phy</w>": 22399,
    "of</w>": 539,
    "liver</w>": 12639,
    ".</w>": 269,
    "left</w>": 1823,
    "ad": 24204,
    "renal</w>": 566,
    "gland</w>": 41441,
    tokeniser.START: 49406,
    tokeniser.END: 49407,
}


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """Files of a vocabulary that knows a few words, with the published numbers."""
    folder = tmp_path_factory.mktemp("vocabulary")
    numbers, merges = dict(PIECES), []
    for piece in list(PIECES)[:-2]:
        ending = "</w>" if piece.endswith("</w>") else ""
        letters = list(piece.removesuffix("</w>"))
        letters[-1] += ending
        made = letters[0]
        for letter in letters[1:]:
            merges.append(f"{made} {letter}")
            made += letter
        for part in (*letters, *(m.replace(" ", "") for m in merges)):
            numbers.setdefault(part, len(numbers))
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    lines = ["#version: 0.2", *dict.fromkeys(merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pieces(vocabulary):
    return tokeniser.from_vocabulary(vocabulary / "vocab.json", vocabulary / "merges.txt")


@pytest.mark.parametrize("word", ["liver", "left adrenal gland"])
def test_the_numbers_are_the_published_ones(pieces, word):
    golden = np.load(GOLDEN / "text.npz")
    row = golden["liver_input_ids" if word == "liver" else "pair_input_ids"][-1].tolist()
    assert pieces.pieces(SENTENCE.format(word)) == row


@pytest.mark.parametrize(
    "text", ["a computerized tomography of a LIVER .", " A  Computerized\ntomography\tof a liver."]
)
def test_case_and_spaces_do_not_matter(pieces, text):
    assert pieces.pieces(text) == pieces.pieces("A computerized tomography of a liver.")


def test_a_description_gives_the_same_numbers(pieces, vocabulary, tmp_path):
    file = tmp_path / "tokenizer.json"
    pieces._tokenizer.enable_padding(length=20)
    pieces._tokenizer.save(str(file))
    pieces._tokenizer.no_padding()
    assert tokeniser.published(tmp_path / "pytorch_model.bin").pieces("of a liver") == [49406, 539, 320, 12639, 49407]


def test_a_text_that_is_too_long_is_told(pieces):
    assert len(pieces.pieces("liver " * 75)) == 77
    with pytest.raises(PromptError, match="fewer words"):
        pieces.pieces("liver " * 76)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_damaged_vocabulary_is_told(vocabulary, tmp_path, name):
    for file in vocabulary.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() if file.name != name else b"\xff\xfe nothing")
    with pytest.raises(FormatError, match="fetch it again"):
        tokeniser.from_vocabulary(tmp_path / "vocab.json", tmp_path / "merges.txt")


def test_a_vocabulary_without_the_marks_is_told(vocabulary, tmp_path):
    numbers = json.loads((vocabulary / "vocab.json").read_text())
    del numbers[tokeniser.START]
    (tmp_path / "vocab.json").write_text(json.dumps(numbers))
    with pytest.raises(FormatError, match="startoftext"):
        tokeniser.from_vocabulary(tmp_path / "vocab.json", vocabulary / "merges.txt")


def test_without_the_package_the_way_to_it_is_told(vocabulary, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModelUnavailableError, match="pip install"):
        tokeniser.from_vocabulary(vocabulary / "vocab.json", vocabulary / "merges.txt")


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("liver", "liver"),
        (" Kidney_Left ", "left kidney"),
        ("IVC", "inferior vena cava"),
        ("iliac artery left", "left iliac artery"),
        ("renal tumour", "kidney tumor"),
        ("A Strange  thing", "a strange thing"),
        ("left", "left"),
        ("  ", ""),
    ],
)
def test_what_a_word_stands_for(word, name):
    assert canonical(word) == name
    assert canonical(name) == name


def test_names_stand_for_themselves_and_nothing_means_two_things():
    known = names()
    assert len(known) > 200
    assert [canonical(name) for name in known] == known


class Encoder:
    def __init__(self):
        self.asked = []

    def __call__(self, sentence):
        self.asked.append(sentence)
        return np.full(6, len(self.asked), np.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VOXELSMITH_CACHE", str(tmp_path))
    return tmp_path


def test_a_word_is_encoded_once_for_ever(cache):
    encoder, other = Encoder(), Encoder()
    words = WordEmbeddings("these", encoder)
    assert words.of("Hepar").tolist() == words.of("liver").tolist() == [1] * 6
    assert WordEmbeddings("these", other).of("LIVER").tolist() == [1] * 6
    assert encoder.asked == ["A computerized tomography of a liver."]
    assert other.asked == []


def test_other_weights_and_other_words_are_other_embeddings(cache):
    encoder = Encoder()
    assert WordEmbeddings("these", encoder).of("liver")[0] == 1
    assert WordEmbeddings("those", encoder).of("liver")[0] == 2
    assert WordEmbeddings("these", encoder).of("spleen")[0] == 3


@pytest.mark.parametrize("damage", [b"", b"nothing", None])
def test_a_damaged_cache_is_made_anew(cache, damage):
    WordEmbeddings("these", Encoder()).of("liver")
    (file,) = cache.rglob("*.npy")
    if damage is None:
        np.save(file, np.full(6, np.nan, np.float32))
    else:
        file.write_bytes(damage)
    encoder = Encoder()
    assert WordEmbeddings("these", encoder).of("liver")[0] == 1
    assert encoder.asked
    assert np.load(file)[0] == 1


def test_a_cache_that_cannot_be_written_is_done_without(cache, monkeypatch):
    (cache / "file").touch()
    monkeypatch.setenv("VOXELSMITH_CACHE", str(cache / "file"))
    assert WordEmbeddings("these", Encoder()).of("liver")[0] == 1


def test_an_empty_word_is_refused(cache):
    with pytest.raises(PromptError, match="empty"):
        WordEmbeddings("these", Encoder()).of("  ")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("liv", "liver"),
        ("IVC", "inferior vena cava"),
        ("kid l", "left kidney"),
        ("left adr", "left adrenal gland"),
        ("oesoph", "esophagus"),
    ],
)
def test_a_beginning_leads_to_its_name(typed, first):
    assert matching(typed)[0] == first


def test_what_begins_no_name_leads_nowhere_and_nothing_typed_to_all():
    assert matching("xyzzy") == []
    assert matching("iver") == []
    assert matching(" ") == names()
    assert len(set(matching("kidney"))) == len(matching("kidney")) >= 3
