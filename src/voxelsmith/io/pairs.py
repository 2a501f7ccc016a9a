"""Pairs: an image file and the file with its labels, as a support example.

Owns the way from two files to one :class:`~voxelsmith.core.support.SupportExample`: the image becomes one 3-D volume
of numbers, whatever it was stored as, and the labels keep their names.
"""

from __future__ import annotations

from pathlib import Path

from voxelsmith.core.errors import InputError
from voxelsmith.core.support import SupportExample
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io.registry import read, read_labels


def read_image(path: Path | str) -> Volume:
    """Read a file as one 3-D image: of a colour image the luminance, of labels their values.

    Raises
    ------
    FormatError
        If it cannot be read.
    InputError
        If it has several frames or channels.
    """
    volume = read(path)
    if isinstance(volume, LabelVolume):
        volume = Volume(volume.array, volume.affine, volume.name, volume.units, volume.extra_axis)
    if volume.is_colour:
        return volume.luminance()
    if volume.array.ndim == 4 and volume.array.shape[3] > 1:
        raise InputError(
            f"A support example is one 3-D image, but {volume.name!r} has {volume.array.shape[3]} frames or channels; "
            "save the one that was annotated as a file of its own."
        )
    return volume.frame()


def read_example(
    image: Path | str,
    labels: Path | str,
    axis: int | None = None,
    slices: tuple[int, ...] | None = None,
    classes: frozenset[int] = frozenset(),
) -> SupportExample:
    """Make a support example of two files.

    Parameters
    ----------
    image, labels
        On one grid.
    axis, slices, classes
        See :class:`~voxelsmith.core.support.SupportExample`.

    Raises
    ------
    FormatError
        If a file cannot be read.
    GeometryError
        If the labels lie on another grid than the image.
    InputError
        If the image is not 3-D or a slice does not exist.
    """
    return SupportExample(
        read_image(image),
        read_labels(labels),
        axis,
        slices,
        classes,
        provenance=f"{Path(image).name} with {Path(labels).name}",
    )
