"""Network: SegVol as plain functions of arrays.

Owns what the engine may ask of it, :class:`SegVolNetwork`, and the one that answers with the published weights. The
text tower, a third of the parameters, is never held: it is read for a new word and dropped. torch is imported when the
weights are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from voxelsmith.core.errors import InputError, ModelUnavailableError, PromptError, ResourceError
from voxelsmith.core.progress import Job, Progress
from voxelsmith.segment.zoom import FloatArray

if TYPE_CHECKING:
    import torch

    from voxelsmith.models.device import DeviceName
    from voxelsmith.models.segvol import SegVolNet
    from voxelsmith.segment.segvol.text import WordEmbeddings

Precision = Literal["auto", "float32", "bfloat16", "float16"]

VIEW = (32, 256, 256)
"""Shape of a view, axes (d, h, w): the only one that the published weights accept."""

_HELD = ("image_encoder.", "prompt_encoder.", "mask_decoder.")


@dataclass(frozen=True, eq=False)
class ViewPrompts:
    """Prompts in voxel indices (d, h, w) of a view.

    Parameters
    ----------
    points
        float32 (N, 3); N may be 0.
    labels
        int (N,): 1 inside, 0 outside, -1 a point to ignore.
    box
        float32 (6,): d0, h0, w0, d1, h1, w1, inclusive. Six times -1 is how the published code says "nothing here",
        and is encoded as such a box. None for no box.
    text
        float32 (768,), from :meth:`SegVolNetwork.text`; None for no text.
    """

    points: FloatArray
    labels: npt.NDArray[np.int64]
    box: FloatArray | None = None
    text: FloatArray | None = None


class SegVolNetwork(Protocol):
    """Image encoder, decoder and text encoder."""

    identity: str
    """Which weights answer, for the keys of caches."""

    def encode(self, view: FloatArray) -> Job[Any]:
        """From a view, float32 (32, 256, 256) in 0..1, to an embedding: opaque, to be kept and handed back.

        A job, because it takes seconds on a CPU; it reports often.
        """

    def decode(self, embedding: Any, prompts: ViewPrompts) -> FloatArray:
        """Logits, float32 (32, 256, 256), of the object that the prompts mean; PromptError if there is no prompt."""

    def text(self, word: str) -> FloatArray:
        """The embedding of a word, float32 (768,).

        Raises
        ------
        PromptError
            If the word is empty or too long.
        ModelUnavailableError
            If what encodes words is not at hand.
        """


def load_network(device: DeviceName = "auto", precision: Precision = "auto") -> SegVolNetwork:
    """The network with the published weights, which must be on this machine.

    Parameters
    ----------
    device
        Where to compute; "auto" takes CUDA, then MPS, then the CPU.
    precision
        Of the matrix products. "auto" is float16 on CUDA and float32 elsewhere: on a CPU bfloat16 is hardly faster, and
        changes the logits by up to 0.1.

    Raises
    ------
    InputError
        If the device is not there.
    ModelUnavailableError
        If the weights are not there, or were tampered with.
    FormatError
        If the file is not one of SegVol's weights.
    """
    from voxelsmith.weights import cache, zoo

    file = zoo.locate("segvol")
    return _loaded(file, cache.digest_of(file), device, precision)


@lru_cache(maxsize=1)
def _loaded(file: Path, digest: str, device: DeviceName, precision: Precision) -> SegVolNetwork:
    import torch

    from voxelsmith.models.segvol import SegVolNet
    from voxelsmith.weights import containers

    with torch.device("meta"):
        whole, held = SegVolNet(), SegVolNet(text=False)
    held.load_state_dict(containers.load(file, whole, _HELD), assign=True)
    return TorchSegVol(held, digest, words_of(file, whole).of, device, precision)


def words_of(file: Path, whole: SegVolNet) -> WordEmbeddings:
    """The embeddings of words by the weights in a file, whose text tower is read for each new word.

    Parameters
    ----------
    file
        The weights; the vocabulary lies beside them, or where the published ones are installed.
    whole
        The network, which may be on the device "meta".

    Raises
    ------
    ModelUnavailableError
        If the file cannot be read.
    """
    from voxelsmith.segment.segvol.text import WordEmbeddings
    from voxelsmith.weights import cache

    return WordEmbeddings(cache.digest_of(file), lambda sentence: _encode_text(sentence, file, whole))


def _encode_text(sentence: str, file: Path, whole: SegVolNet) -> FloatArray:
    """The embedding of a sentence by the text tower in a file, which is read for it."""
    import torch

    from voxelsmith.models.segvol.text_encoder import TextEncoder
    from voxelsmith.segment.segvol import tokeniser
    from voxelsmith.weights import containers

    pieces = tokeniser.published(file).pieces(sentence)
    with torch.device("meta"):
        tower = TextEncoder(whole.architecture)
    weights = containers.load(file, whole, ("text_encoder.",))
    # Numbers of positions may be missing; nothing reads them.
    tower.load_state_dict({k.removeprefix("text_encoder."): w for k, w in weights.items()}, strict=False, assign=True)
    with torch.inference_mode():
        out: FloatArray = tower.eval()(torch.tensor([pieces]))[0].numpy()
    return out


class TorchSegVol:
    """A torch network, in evaluation mode on a device, as functions of arrays.

    Parameters
    ----------
    net
        The network; its text encoder is not used.
    identity
        Which weights it has.
    embed
        From a word to its embedding, float32 (width,); without it there are no words.
    device, precision
        As for :func:`load_network`.
    """

    def __init__(
        self,
        net: SegVolNet,
        identity: str,
        embed: Callable[[str], FloatArray] | None = None,
        device: DeviceName = "auto",
        precision: Precision = "auto",
    ) -> None:
        import torch

        from voxelsmith.models.device import pick_device

        self.identity = identity
        self._place = pick_device(device)
        self._net = net.to(self._place).eval()
        self._embed = embed
        if precision == "auto":
            precision = "float16" if self._place.type == "cuda" else "float32"
        self._dtype: torch.dtype = getattr(torch, precision)

    def encode(self, view: FloatArray) -> Job[torch.Tensor]:
        """As :meth:`SegVolNetwork.encode`; InputError for a view of another shape."""
        import torch

        wanted = self._net.architecture.view
        if view.shape != wanted:
            raise InputError(
                f"SegVol looks at {_by(wanted)} voxels at a time, got {_by(view.shape)}; resample the image first."
            )
        stages = self._net.image_encoder.stages()
        with self._computing():
            x = torch.from_numpy(np.array(view, dtype=np.float32, order="C"))[None, None].to(self._place)
        for done, stage in enumerate(stages):
            yield Progress(done, len(stages), "Encoding the view")
            with self._computing():
                x = stage(x)
        return x

    def decode(self, embedding: torch.Tensor, prompts: ViewPrompts) -> FloatArray:
        """As :meth:`SegVolNetwork.decode`."""
        import torch

        given: dict[str, npt.NDArray[Any] | None] = {"box": prompts.box, "text": prompts.text}
        if len(prompts.points):
            given |= {"points": prompts.points, "labels": prompts.labels}
        arrays = {name: array for name, array in given.items() if array is not None}
        if not arrays:
            raise PromptError("SegVol needs a point, a box or a word, got none; give one of them.")
        with self._computing():
            tensors = {n: torch.from_numpy(np.array(a, dtype=np.float32))[None] for n, a in arrays.items()}
            logits = self._net.decode(embedding, **{n: t.to(self._place) for n, t in tensors.items()})
            out: FloatArray = logits[0, 0].float().cpu().numpy()
        return out

    def text(self, word: str) -> FloatArray:
        """As :meth:`SegVolNetwork.text`."""
        if self._embed is None:
            raise ModelUnavailableError("This network came without its text encoder; use points or a box.")
        return self._embed(word)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        import torch

        half = self._dtype != torch.float32
        try:
            dtype = self._dtype if half else None
            with torch.inference_mode(), torch.autocast(self._place.type, dtype=dtype, enabled=half):
                yield
        except torch.OutOfMemoryError as error:
            raise ResourceError(
                f"The memory of {self._place.type} is too small for SegVol; close what else uses it, or choose the CPU."
            ) from error


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
