"""Text: embeddings of words, kept on the disk.

Owns the sentence that a word is put into, and the cache. A word's embedding depends on the word and the weights alone,
and the text tower that makes it is large, so each is made once. The files in the cache folder can be deleted anytime.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np

from voxelsmith.core.errors import PromptError, ResourceError
from voxelsmith.io.atomic import replacing
from voxelsmith.segment.segvol.words import canonical
from voxelsmith.segment.zoom import FloatArray
from voxelsmith.weights import cache

SENTENCE = "A computerized tomography of a {}."
"""What the published weights were trained to read."""


class WordEmbeddings:
    """Embeddings of words by one set of weights.

    Parameters
    ----------
    identity
        Which weights.
    encode
        From a sentence to its embedding, float32 (width,); slow.
    """

    def __init__(self, identity: str, encode: Callable[[str], FloatArray]) -> None:
        self._identity, self._encode = identity, encode
        self._kept: dict[str, FloatArray] = {}

    def of(self, word: str) -> FloatArray:
        """The embedding of a word, or of the name that stands for it; PromptError if the word is empty."""
        name = canonical(word)
        if not name:
            raise PromptError("The name of an organ or a lesion is expected, got an empty text; type a word.")
        if name not in self._kept:
            self._kept[name] = self._from_disk(name)
        return self._kept[name]

    def _from_disk(self, name: str) -> FloatArray:
        sentence = SENTENCE.format(name)
        file = self._file(sentence)
        known = _read(file)
        if known is None:
            known = np.ascontiguousarray(self._encode(sentence), dtype=np.float32)
            # It is a cache: without it the answer is the same.
            with contextlib.suppress(OSError, ResourceError):
                file.parent.mkdir(parents=True, exist_ok=True)
                with replacing(file) as temporary:
                    np.save(temporary, known, allow_pickle=False)
        known.flags.writeable = False
        return known

    def _file(self, sentence: str) -> Path:
        key = blake2b(f"{self._identity}\n{sentence}".encode(), digest_size=16).hexdigest()
        return cache.folder() / "segvol-words" / f"{key}.npy"


def _read(file: Path) -> FloatArray | None:
    """The embedding in a file, or None if there is none that can be used."""
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = (
        isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim == 1 and np.isfinite(array).all()
    )
    return array if usable else None
