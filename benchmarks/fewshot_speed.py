"""How long few-shot engines take, and how much memory: seconds of waiting and of processor time, and the peak.

    python benchmarks/fewshot_speed.py [--threads 2] [--only CASE]

Each case runs in a process of its own. first look, refined and all are counted from the request: shapes in the slice in
view (prototypes have none), the same slice learned, the whole volume. adding is what an example costs when it is added:
its hash, and its thumbnail. Memory is the peak above what the process held after imports and reading, in MiB, the
examples included. Dice is the mean of the classes over the slices between the outermost labelled ones that were not
painted.

Same volume: five painted slices, evenly spaced over the range. ct_abdomen: the liver, and all organs above 3000 voxels
at once (silver labels); 512 x 512 x 60: the CT of the upper abdomen, each slice three times. ten shots: slices of 256 x
256 pixels of the glioma FLAIR, resampled; of the volume itself, and (prototypes) of another patient.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cases import data_folder
from voxelsmith.core.affine import Affine
from voxelsmith.core.metrics import dice
from voxelsmith.core.progress import Job, Progress, run_job
from voxelsmith.core.resample import resample_to
from voxelsmith.core.support import SupportExample, SupportSet
from voxelsmith.core.volume import LabelVolume, Volume
from voxelsmith.io import read, read_labels
from voxelsmith.plugin.docks.fewshot.thumbnails import thumbnail
from voxelsmith.segment.across_volumes import AcrossRequest
from voxelsmith.segment.across_volumes import propose as across
from voxelsmith.segment.encoders import EfficientNetEncoder
from voxelsmith.segment.proposal import Proposal
from voxelsmith.segment.same_volume import SameVolumeEngine, SameVolumeRequest

_MIB = 2**20
_SIDE = 256
_LEAST = 3000

Pair = tuple[Volume, LabelVolume]
Clock = tuple[float, float]
Measured = tuple[Clock, list[Clock], float]
"""What adding an example cost, when the answers were there, and how good the last one is."""


def peak() -> float:
    """Peak resident size of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB


def now() -> Clock:
    """Waiting and processor time."""
    return time.perf_counter(), time.process_time()


def read_pair(image: Path, labels: Path) -> Pair:
    """An image in memory, and its labels."""
    volume = read(image)
    return Volume(np.asarray(volume.array), volume.affine, image.parent.name), read_labels(labels)


def abdomen(value: int | None) -> Pair:
    """The CT from T11 to the thigh with one organ, or all large ones."""
    image, labels = read_pair(*(data_folder() / "ct_abdomen" / f"{n}.nii.gz" for n in ("image", "labels")))
    array = np.asarray(labels.array)
    kept = [v for v in labels.values() if (array == v).sum() > _LEAST] if value is None else [value]
    return image, image.labels(np.where(np.isin(array, kept), array, 0).astype(np.uint8))


def large() -> Pair:
    """512 x 512 x 60 voxels with a liver."""
    image, labels = read_pair(*(data_folder() / "ct_upper_abdomen" / f"{n}.nii.gz" for n in ("image", "labels")))
    affine = image.affine @ Affine(np.diag([1, 1, 1 / 3, 1]))
    array, mask = (np.repeat(a, 3, axis=2) for a in (np.asarray(image.array), np.asarray(labels.array) == 5))
    volume = Volume(array, affine, "large")
    return volume, volume.labels(mask.astype(np.uint8))


def glioma(number: int) -> Pair:
    """FLAIR of one patient on slices of 256 x 256 pixels, with the whole tumour."""
    folder = sorted((data_folder() / "glioma_2mod").iterdir())[number]
    image, labels = read_pair(folder / "flair.nii.gz", folder / "labels.nii.gz")
    target = image.affine @ Affine(np.diag([*np.array(image.grid[:2]) / _SIDE, 1, 1]))
    grid = (_SIDE, _SIDE, image.grid[2])
    whole = image.labels((np.asarray(labels.array) > 0).astype(np.uint8))
    large_image = replace(resample_to(image, target, grid), name=folder.name)
    return large_image, large_image.labels(np.asarray(resample_to(whole, target, grid).array))


def spaced(labels: LabelVolume, count: int) -> tuple[int, ...]:
    """Evenly spaced slices from the first with labels to the last."""
    filled = np.flatnonzero(np.asarray(labels.array).any(axis=(0, 1)))
    return tuple(sorted({round(n) for n in np.linspace(filled[0], filled[-1], count).tolist()}))


def added(pair: Pair, slices: tuple[int, ...]) -> tuple[SupportSet, Clock]:
    """Slices added one by one, and what the dearest one cost."""
    support, most = SupportSet(), (0.0, 0.0)
    for n in slices:
        began = now()
        support = support.add(SupportExample(*pair, 2, (n,), frozenset(pair[1].values())))
        thumbnail(support.examples[-1])
        spent = now()
        most = max(most[0], spent[0] - began[0]), max(most[1], spent[1] - began[1])
    return support, most


def answered(job: Job[Proposal]) -> tuple[list[Clock], Proposal]:
    """When the first look, the refined slice and the volume were there; and the answer."""
    began = now()
    marks: dict[bool, Clock] = {}

    def note(progress: Progress) -> None:
        if progress.partial is not None:
            at = now()
            marks.setdefault(progress.partial.refined, (at[0] - began[0], at[1] - began[1]))

    proposal = run_job(job, note)
    end = now()
    whole = end[0] - began[0], end[1] - began[1]
    refined = marks.get(True, whole)
    return [marks.get(False, refined), refined, whole], proposal


def agreement(pair: Pair, proposal: Proposal, painted: tuple[int, ...] = ()) -> float:
    """Mean Dice of the classes over the slices of their range that were not painted."""
    truth, found = np.asarray(pair[1].array), np.asarray(proposal.labels.array)
    filled = np.flatnonzero(truth.any(axis=(0, 1)))
    rest = [n for n in range(filled[0], filled[-1] + 1) if n not in painted]
    return float(np.mean([dice(truth[..., rest] == v, found[..., rest] == v) for v in proposal.classes]))


def painted(pair: Pair, count: int) -> Measured:
    """Some slices painted, the rest learned."""
    slices = spaced(pair[1], count)
    support, adding = added(pair, slices)
    view = slices[len(slices) // 2] + 1
    marks, proposal = answered(SameVolumeEngine().propose(SameVolumeRequest(pair[0], support, view)))
    return adding, marks, agreement(pair, proposal, slices)


def other_patient(query: Pair, source: Pair, count: int) -> Measured:
    """Slices of another patient as prototypes."""
    support, adding = added(source, spaced(source[1], count))
    view = query[0].grid[2] // 2
    marks, proposal = answered(across(AcrossRequest(query[0], support, EfficientNetEncoder("cpu"), view=view)))
    return adding, marks, agreement(query, proposal)


CASES: dict[str, tuple[Callable[[], list[Pair]], Callable[..., Measured]]] = {
    "ct_abdomen, liver": (lambda: [abdomen(5)], lambda pair: painted(pair, 5)),
    "ct_abdomen, all organs": (lambda: [abdomen(None)], lambda pair: painted(pair, 5)),
    "512 x 512 x 60, liver": (lambda: [large()], lambda pair: painted(pair, 5)),
    "ten shots, same volume": (lambda: [glioma(0)], lambda pair: painted(pair, 10)),
    "ten shots, another patient": (
        lambda: [glioma(0), glioma(1)],
        lambda query, source: other_patient(query, source, 10),
    ),
}


def measure(name: str, threads: int) -> None:
    """Print the row of one case."""
    import torch
    from sklearn.ensemble import HistGradientBoostingClassifier

    torch.set_num_threads(threads)
    HistGradientBoostingClassifier(max_iter=1).fit(np.arange(40)[:, None], np.arange(40) % 2)
    make, run = CASES[name]
    pairs = make()
    before = peak()
    adding, marks, overlap = run(*pairs)
    cells = [f"{wall:.2f}, {cpu:.2f}" for wall, cpu in (adding, *marks)]
    print(f"| {name} | {' | '.join(cells)} | {peak() - before:.0f} | {overlap:.3f} |", flush=True)


def main() -> None:
    """Run every case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--only", choices=list(CASES), help="this case, in this process")
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.only, arguments.threads)
        return
    print(
        "| case | adding: wall, CPU s | first look | refined | all | peak, MiB | Dice |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in arguments.cases:
        command = [sys.executable, __file__, "--only", name, "--threads", str(arguments.threads)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
