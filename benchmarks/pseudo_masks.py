"""How fast pseudo-masks are made, and how well their regions cover organs.

    python benchmarks/pseudo_masks.py [--scales S ...]

Seconds are for 256x256x32 voxels, the size that SegVol makes its pseudo-masks at, after one run that compiles; beside
them stands scikit-image's ``felzenszwalb``, which is 2-D, slice by slice, so it has fewer edges and no cleaning to do.

The achievable IoU of an organ is the better of two: the best IoU of any mask, and the IoU of the union of those masks
that lie to more than 90 % inside the organ's box, which is how SegVol makes a target of a box. The table shows the mean
over the organs (silver labels) of the abdominal CT that have more than 500 of its voxels. The default scale was chosen
on this table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import felzenszwalb as felzenszwalb_2d

from cases import data_folder
from voxelsmith.core.resample import resample_to
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels
from voxelsmith.segment.pseudo_masks import DEFAULT_SCALE, pseudo_masks

GRID = (256, 256, 32)
SCALES = (0.001, DEFAULT_SCALE, 0.01, 0.03, 0.1, 0.3)
LEAST_VOXELS = 500
INSIDE = 0.9
PEER_SCALE, PEER_MIN_SIZE = 1.0, 30


def seconds(work: Callable[[], Any]) -> float:
    """The shortest of three runs."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def slice_by_slice(array: npt.NDArray[np.float32]) -> None:
    """scikit-image's 2-D regions of every slice."""
    for k in range(array.shape[2]):
        felzenszwalb_2d(array[:, :, k], scale=PEER_SCALE, sigma=0.8, min_size=PEER_MIN_SIZE)


def achievable(masks: npt.NDArray[np.int32], truth: npt.NDArray[Any], organs: list[int]) -> float:
    """Mean achievable IoU over the organs."""
    size = np.bincount(masks.ravel())
    boxes = ndimage.find_objects(truth)
    best = []
    for organ in organs:
        box = boxes[organ - 1]
        mask, found = truth[box] == organ, masks[box]
        both = np.bincount(found[mask], minlength=size.size)
        in_box = np.bincount(found.ravel(), minlength=size.size)
        single = (both / (mask.sum() + size - both))[1:].max(initial=0)
        inside = in_box > INSIDE * size
        inside[0] = False
        union = both[inside].sum() / (mask.sum() + size[inside].sum() - both[inside].sum())
        best.append(max(single, union))
    return float(np.mean(best))


def onto_grid(volume: Volume) -> Volume:
    """The same box in the number of voxels that SegVol uses."""
    return resample_to(volume, volume.affine.scaled(np.divide(volume.grid, GRID)), GRID)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES)
    scales = parser.parse_args().scales
    folder = data_folder() / "ct_abdomen"
    image, truth = read(folder / "image.nii.gz"), read_labels(folder / "labels.nii.gz")
    truth = LabelVolume(np.asarray(truth.array).astype(np.int32), truth.affine)
    organs = [v for v in truth.values() if truth.mask(v).sum() > LEAST_VOXELS]
    pairs = [(image, truth), (onto_grid(image), onto_grid(truth))]

    resized = pairs[1][0]
    array = np.asarray(resized.array, dtype=np.float32)
    pseudo_masks(array, resized.spacing)
    low, high = np.percentile(array, (1, 99))
    scaled = np.clip((array - low) / (high - low), 0, 1)
    ours = seconds(lambda: pseudo_masks(array, resized.spacing))
    peer = seconds(lambda: slice_by_slice(scaled))
    print(f"256x256x32: pseudo_masks {ours:.2f} s, scikit-image felzenszwalb slice by slice {peer:.2f} s\n")

    print(f"Achievable IoU, mean over {len(organs)} organs (masks, share of the volume that they cover)\n")
    print("| scale | " + " | ".join("{}x{}x{}".format(*volume.grid) for volume, _ in pairs) + " |")
    print("|---|" + "---|" * len(pairs))
    for scale in scales:
        cells = []
        for volume, labels in pairs:
            masks = pseudo_masks(volume.array, volume.spacing, scale=scale)
            iou = achievable(masks, labels.array, organs)
            cells.append(f"{iou:.3f} ({masks.max()}, {(masks > 0).mean():.0%})")
        print(f"| {scale:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
