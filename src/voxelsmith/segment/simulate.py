"""A simulated user: prompts that somebody would give who knows the right answer.

Owns the protocol of the literature: a tight box, then one click at a time at the centre of the largest error, positive
where the object was missed and negative where too much was taken. Benchmarks and the demo use it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import Box, ObjectPrompts, Point, Prompt
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import Engine, PromptRequest, Segmentation


def next_click(truth: npt.NDArray[Any], mask: npt.NDArray[Any], spacing: npt.ArrayLike) -> Point | None:
    """The click at the centre of the largest error, or None if there is no error.

    Parameters
    ----------
    truth, mask : array, shape (I, J, K)
        What is right and what there is; non-zero is inside.
    spacing
        Voxel size in millimetres. The centre is the voxel deepest inside the error.
    """
    truth, mask = np.asarray(truth, dtype=bool), np.asarray(mask, dtype=bool)
    best: tuple[int, npt.NDArray[np.bool_], Box, bool] | None = None
    for error, positive in ((truth & ~mask, True), (mask & ~truth, False)):
        parts, count = ndimage.label(error)
        if not count:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        largest = int(sizes.argmax())
        if best is None or sizes[largest] > best[0]:
            at = ndimage.find_objects(parts)[largest]
            box = Box(tuple(s.start for s in at), tuple(s.stop - 1 for s in at))
            best = (int(sizes[largest]), parts[at] == largest + 1, box, positive)
    if best is None:
        return None
    _, part, box, positive = best
    size = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (3,)).tolist()
    depth = ndimage.distance_transform_edt(np.pad(part, 1), sampling=size)[1:-1, 1:-1, 1:-1]
    i, j, k = (int(x) + o for x, o in zip(np.unravel_index(depth.argmax(), depth.shape), box.lo, strict=True))
    return Point((i, j, k), positive)


@dataclass(frozen=True, eq=False)
class Answer:
    """What an engine made of the prompts so far, and how long it took for it."""

    segmentation: Segmentation
    seconds: float


def simulate(
    engine: Engine, image: Volume, truth: npt.NDArray[Any], clicks: int = 5, box: bool = True
) -> Iterator[Answer]:
    """Prompt an engine as a user would, yielding its answer after each prompt.

    Parameters
    ----------
    engine
        Who answers.
    image, truth
        The image and the right mask on its grid.
    clicks
        How many clicks follow the first prompt; fewer when there is nothing left to correct.
    box
        Whether the first prompt is the tight box; otherwise it is a click.
    """
    nothing = np.zeros(truth.shape, dtype=bool)
    prompt: Prompt | None = Box.around(truth) if box else next_click(truth, nothing, image.spacing)
    prompts: tuple[Prompt, ...] = ()
    while prompt is not None and len(prompts) <= clicks:
        prompts = (*prompts, prompt)
        started = time.perf_counter()
        result = run_job(engine.segment(PromptRequest(image, ObjectPrompts(prompts))))
        yield Answer(result, time.perf_counter() - started)
        prompt = next_click(truth, result.on_grid(), image.spacing)
