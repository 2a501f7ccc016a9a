"""Known affine maps, recovered: our affine stage beside SimpleITK's registration framework.

Twenty cases are made from real volumes: the moving image is the fixed one under a random map with up to 30 degrees
about a random axis, up to 15 % scale along each axis, and a shift of up to a tenth of the image. The error is how far
the map that was found puts the voxels of the object from where they belong, in voxels of the fixed image. Every engine
runs on one thread; CPU seconds are those of the process. Set VOXELSMITH_DATA to the folder of development data.

    python benchmarks/affine.py [--engines ncc mi mind simpleitk] [--cases 20]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from cases import data_folder
from voxelsmith.core.affine import Affine, FloatArray
from voxelsmith.core.progress import run_job
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume
from voxelsmith.io import read
from voxelsmith.register.affine import align
from voxelsmith.register.preparation import prepare
from voxelsmith.register.request import AffineSettings, AffineSimilarity

_IMAGES = (
    "brain_pair/A.nii.gz",
    "brain_pair/B.nii.gz",
    "lung_mr/0004_image.nii.gz",
    "lung_mr/0006_image.nii.gz",
    "glioma_2mod/pat0003/flair.nii.gz",
    "mr_abdomen/image.nii.gz",
    "ct_abdomen/image.nii.gz",
    "hippocampus/images/hippocampus_001.nii.gz",
    "hippocampus/images/hippocampus_011.nii.gz",
    "spinal_cord/t1w.nii.gz",
)
_OBJECT = 0.2
_EVERY = 97
Engine = Callable[[Volume, Volume], FloatArray]


def cases(count: int, seed: int = 7) -> Iterator[tuple[Volume, Volume, FloatArray]]:
    """Fixed image, moving image, and the map from the fixed to the moving world."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        name = _IMAGES[number % len(_IMAGES)]
        source = read(data_folder() / name).frame()
        fixed = Volume(np.asarray(source.array, np.float32), source.affine, name)
        axis = rng.standard_normal(3)
        turn = Rotation.from_rotvec(np.deg2rad(rng.uniform(-30, 30)) * axis / np.linalg.norm(axis)).as_matrix()
        matrix = np.eye(4)
        matrix[:3, :3] = turn @ np.diag(1 + rng.uniform(-0.15, 0.15, 3))
        middle = fixed.affine.apply((np.array(fixed.grid) - 1) / 2)
        shift = rng.uniform(-0.1, 0.1, 3) * fixed.spacing * fixed.grid
        matrix[:3, 3] = middle - matrix[:3, :3] @ middle + shift
        back = Transform(np.linalg.inv(matrix))
        yield fixed, back.pull_image(fixed, fixed.affine, fixed.grid, fill=float(fixed.array.min())), matrix


def errors(fixed: Volume, truth: FloatArray, found: FloatArray) -> FloatArray:
    """Distances in voxels at places of the object."""
    places = fixed.affine.apply(np.argwhere(prepare(fixed).values > _OBJECT)[::_EVERY])
    apart = Affine(found).apply(places) - Affine(truth).apply(places)
    return np.linalg.norm(apart @ np.linalg.inv(fixed.affine.matrix[:3, :3]).T, axis=1)


def ours(similarity: AffineSimilarity) -> Engine:
    """Our affine stage."""

    def find(fixed: Volume, moving: Volume) -> FloatArray:
        return run_job(align(prepare(fixed), prepare(moving), AffineSettings(similarity=similarity))).matrix

    return find


def simpleitk(fixed: Volume, moving: Volume) -> FloatArray:
    """As SimpleITK's examples do it: centres of mass, then rigid, then affine on three levels with Mattes' metric."""
    import SimpleITK

    from voxelsmith.io.itk import to_image
    from voxelsmith.io.transforms.itk import from_itk

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    a, b = (SimpleITK.Cast(to_image(volume), SimpleITK.sitkFloat32) for volume in (fixed, moving))
    found: Any = SimpleITK.CenteredTransformInitializer(
        a, b, SimpleITK.Euler3DTransform(), SimpleITK.CenteredTransformInitializerFilter.MOMENTS
    )
    share = min(1.0, 60_000 / a.GetNumberOfPixels())
    for model in ("rigid", "affine"):
        if model == "affine":
            rigid = SimpleITK.Euler3DTransform(found)
            found = SimpleITK.AffineTransform(3)
            found.SetCenter(rigid.GetCenter())
            found.SetMatrix(rigid.GetMatrix())
            found.SetTranslation(rigid.GetTranslation())
        method = SimpleITK.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentagePerLevel([min(1.0, share * f**3) for f in (4, 2, 1)], seed=1)
        method.SetInterpolator(SimpleITK.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200, 0.5)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2, 1])
        method.SetSmoothingSigmasPerLevel([2, 1, 0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
        method.SetInitialTransform(found, inPlace=False)
        found = method.Execute(a, b).Downcast()
        if found.GetName() == "CompositeTransform":
            found = found.GetNthTransform(0).Downcast()
    return from_itk(found).matrix


ENGINES: dict[str, Engine] = {"ncc": ours("ncc"), "mi": ours("mi"), "mind": ours("mind"), "simpleitk": simpleitk}


def main() -> None:
    """Print a Markdown table, an engine a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=["ncc", "mi", "simpleitk"])
    parser.add_argument("--cases", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| engine | within 0.1 voxel (mean) | median error | largest error | CPU s, median | same twice |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in arguments.engines:
        means, seconds, repeats = [], [], []
        for number, (fixed, moving, truth) in enumerate(cases(arguments.cases)):
            begun = time.process_time()
            found = ENGINES[name](fixed, moving)
            seconds.append(time.process_time() - begun)
            means.append(float(errors(fixed, truth, found).mean()))
            if number < 3:
                repeats.append(np.array_equal(found, ENGINES[name](fixed, moving)))
        close = sum(mean <= 0.1 for mean in means)
        print(
            f"| {name} | {close} of {len(means)} | {np.median(means):.3f} | {max(means):.3f} "
            f"| {np.median(seconds):.2f} | {'yes' if all(repeats) else 'no'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
