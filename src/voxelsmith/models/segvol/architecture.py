"""Architecture: the sizes that the parts of SegVol agree on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Size of the network; the defaults are those of the published weights.

    Parameters
    ----------
    view
        Voxels (D, H, W) of the input.
    patch
        Voxels (D, H, W) of a token; divides the view.
    width
        Numbers in a token; a multiple of 8 and of the numbers of heads.
    depth, heads, hidden
        Blocks of the image encoder, their attention heads, the width of their perceptrons.
    decoder_heads, decoder_hidden
        The same for the two layers of the decoder.
    quality_hidden
        Width of the head that estimates the quality of a mask.
    vocabulary, text_length, text_width, text_depth, text_heads, text_hidden
        The text tower: known word pieces, most pieces in a text, and its sizes.
    """

    view: tuple[int, int, int] = (32, 256, 256)
    patch: tuple[int, int, int] = (4, 16, 16)
    width: int = 768
    depth: int = 12
    heads: int = 12
    hidden: int = 3072
    decoder_heads: int = 8
    decoder_hidden: int = 2048
    quality_hidden: int = 256
    vocabulary: int = 49408
    text_length: int = 77
    text_width: int = 512
    text_depth: int = 12
    text_heads: int = 8
    text_hidden: int = 2048

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along (D, H, W)."""
        (d, h, w), (a, b, c) = self.view, self.patch
        return d // a, h // b, w // c

    @property
    def tokens(self) -> int:
        """How many tokens a view has."""
        d, h, w = self.grid
        return d * h * w
