"""Tokeniser: from a sentence to the numbers of its word pieces, as CLIP counts them (Radford et al., ICML 2021).

Owns where the vocabulary comes from: it lies beside the published weights, as ``vocab.json`` and ``merges.txt`` or as
``tokenizer.json``. The pieces are byte pairs; the package ``tokenizers`` finds them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelsmith.core.errors import FormatError, ModelUnavailableError, PromptError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LONGEST = 77
"""Most pieces of a sentence that the text tower reads, start and end included."""

# Endings of English words, runs of letters, single digits, runs of other signs; and the two marks.
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class Pieces:
    """Numbers of the word pieces of sentences."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._start, self._end = self._number(START), self._number(END)

    def pieces(self, sentence: str) -> list[int]:
        """Their numbers, with those of start and end; PromptError if there are more than the text tower reads."""
        inner = self._tokenizer.encode(sentence, add_special_tokens=False).ids
        if len(inner) > LONGEST - 2:
            raise PromptError(
                f"A text may have about {LONGEST - 12} word pieces, this one has {len(inner) - 10}; use fewer words."
            )
        return [self._start, *inner, self._end]

    def _number(self, piece: str) -> int:
        number = self._tokenizer.token_to_id(piece)
        if number is None:
            raise FormatError(f"A vocabulary should have the piece {piece}, but this one lacks it; fetch it again.")
        return int(number)


def from_vocabulary(vocabulary: Path, merges: Path) -> Pieces:
    """The tokeniser with these pieces and merges.

    Raises
    ------
    FormatError
        If the files cannot be read.
    ModelUnavailableError
        If the package ``tokenizers`` is not installed.
    """
    library = _library()
    try:
        bytepairs = library.models.BPE.from_file(
            str(vocabulary), str(merges), unk_token=END, end_of_word_suffix="</w>", continuing_subword_prefix=""
        )
    except Exception as error:
        raise _unreadable(vocabulary, error) from error
    tokenizer = library.Tokenizer(bytepairs)
    steps = library.normalizers
    tokenizer.normalizer = steps.Sequence([steps.NFC(), steps.Replace(library.Regex(r"\s+"), " "), steps.Lowercase()])
    cuts = library.pre_tokenizers
    words = cuts.Split(library.Regex(_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = cuts.Sequence([words, cuts.ByteLevel(add_prefix_space=False, use_regex=False)])
    return Pieces(tokenizer)


def from_description(file: Path) -> Pieces:
    """The tokeniser that a ``tokenizer.json`` describes; errors as :func:`from_vocabulary`."""
    library = _library()
    try:
        tokenizer = library.Tokenizer.from_file(str(file))
    except Exception as error:
        raise _unreadable(file, error) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return Pieces(tokenizer)


def published(weights: Path) -> Pieces:
    """The tokeniser that belongs to a file with SegVol's weights.

    Raises
    ------
    ModelUnavailableError
        If its vocabulary is not on this machine, or the package ``tokenizers`` is not installed.
    FormatError
        If its files cannot be read.
    """
    from voxelsmith.weights import zoo

    description = weights.with_name("tokenizer.json")
    if description.is_file():
        return from_description(description)
    return from_vocabulary(zoo.locate("segvol", "vocab.json"), zoo.locate("segvol", "merges.txt"))


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ModelUnavailableError(
            "Words need the package tokenizers; install it with `pip install 'napari-voxelsmith[segvol]'`, or use "
            "points or a box."
        ) from error
    return tokenizers


def _unreadable(file: Path, error: Exception) -> FormatError:
    return FormatError(f"{file} cannot be read as a vocabulary ({error}); it is damaged, so fetch it again.")
