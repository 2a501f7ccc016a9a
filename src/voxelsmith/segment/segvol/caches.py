"""Caches: embeddings of views, kept from one request to the next.

Owns what makes a further click cheap: the image encoder is by far the most expensive part of SegVol, and its answer
depends on the view alone. Views are told apart by their content, so an embedding is found again whatever image, region
or object it was made for. One worker at a time may use a cache.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Any

from voxelsmith.core.progress import Job, Progress
from voxelsmith.segment.segvol.network import SegVolNetwork
from voxelsmith.segment.zoom import FloatArray

_BYTES = 400_000_000


class Embeddings:
    """Embeddings of the views that were encoded last.

    Parameters
    ----------
    limit
        How many bytes all of them may take; the ones that were used least recently are dropped. An embedding that does
        not say its ``nbytes`` counts as much as its view.
    """

    def __init__(self, limit: int = _BYTES) -> None:
        self.limit = limit
        self._kept: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """What they take at present."""
        return sum(size for _, size in self._kept.values())

    def of(self, view: FloatArray, network: SegVolNetwork, report: Progress) -> Job[Any]:
        """Job that returns the embedding of a view, encoded if it is not known; ``report`` is all that it reports."""
        key = blake2b(
            view.data, digest_size=16, key=blake2b(network.identity.encode(), digest_size=16).digest()
        ).digest()
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        embedding = yield from _reporting(network.encode(view), report)
        self._kept[key] = embedding, int(getattr(embedding, "nbytes", view.nbytes))
        while self.nbytes > self.limit and len(self._kept) > 1:
            self._kept.popitem(last=False)
        return embedding


def _reporting(job: Job[Any], report: Progress) -> Job[Any]:
    """A job with another report in place of each of its own."""
    try:
        while True:
            next(job)
            yield report
    except StopIteration as end:
        return end.value
    finally:
        job.close()
