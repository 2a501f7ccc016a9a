"""Details: what the Volumes dock says about a layer.

Owns the wording of geometry for the user, one row a fact.
"""

from __future__ import annotations

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.plugin.placement import tilt_degrees
from voxelsmith.plugin.windows import Statistics

_UNTILTED = 0.005


def details(volume: Volume, known: Statistics | None = None) -> list[tuple[str, str]]:
    """Rows of (name, value) about a volume; ``known`` adds its values."""
    rows = [
        ("Grid", " × ".join(map(str, volume.grid))),
        ("Voxel size", " × ".join(f"{s:.4g}" for s in volume.spacing) + " mm"),
        ("Orientation", orientation(volume.affine)),
        ("Origin", "R {:.1f}  A {:.1f}  S {:.1f} mm".format(*volume.affine.origin)),
        ("Data type", f"{volume.array.dtype}, {size(volume)}"),
    ]
    if known is not None:
        rows.append(("Values", value_range(known)))
    if volume.extra_axis is not None:
        rows.append(("Frames" if volume.extra_axis == "time" else "Channels", str(volume.array.shape[3])))
    if isinstance(volume, LabelVolume) and volume.names:
        rows.append(("Labels", ", ".join(f"{value} {name}" for value, name in sorted(volume.names.items()))))
    rows.append(("Unit of file", {"um": "µm"}.get(volume.units, volume.units)))
    rows.append(("File", str(volume.metadata.get("path", "none (made here)"))))
    if volume.history:
        rows.append(("History", "; ".join(volume.history)))
    return rows


def orientation(affine: Affine) -> str:
    """The codes of the axes, and by how much they are tilted."""
    tilt = tilt_degrees(affine)
    if tilt < _UNTILTED:
        return affine.axcodes
    return f"{affine.axcodes}, oblique by {tilt:.1f}°, drawn straight"


def size(volume: Volume) -> str:
    """Memory that the voxels take, or would take."""
    bytes_ = float(np.prod(volume.array.shape, dtype=float) * volume.array.dtype.itemsize)
    for unit in ("B", "kB", "MB"):
        if bytes_ < 1000:
            return f"{bytes_:.3g} {unit}"
        bytes_ /= 1000
    return f"{bytes_:.3g} GB"


def value_range(known: Statistics) -> str:
    """Smallest and largest value, and whether some are not finite."""
    if known.low is None:
        return "none is finite"
    return f"{known.low:.6g} to {known.high:.6g}" + ("" if known.finite else ", some not finite")
