"""One registration by another tool, in a process of its own; benchmarks/registration.py calls it.

    PEERS_PYTHON benchmarks/registration_peers.py METHOD FOLDER

FOLDER holds fixed.nii.gz, moving.nii.gz, labels.nii.gz (of the moving image), and place_0.nii.gz to place_2.nii.gz:
where each voxel of the moving image lies. Written back are the warped ones, with ``warped_`` before their names;
printed are the CPU seconds of the registration. Nothing of voxelsmith is imported: the tools have an environment of
their own.
"""

import json
import resource
import sys
import time
from pathlib import Path

CARRIED = ["labels", "place_0", "place_1", "place_2"]


def ants(folder, metric="mattes"):
    """ANTsPy's SyN with its defaults."""
    import ants

    fixed, moving = (ants.image_read(str(folder / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    began = time.process_time()
    found = ants.registration(fixed, moving, "SyN", syn_metric=metric, random_seed=1)
    seconds = time.process_time() - began
    for name in CARRIED:
        image = ants.image_read(str(folder / f"{name}.nii.gz"))
        how = "nearestNeighbor" if name == "labels" else "linear"
        out = ants.apply_transforms(fixed, image, found["fwdtransforms"], interpolator=how)
        ants.image_write(out, str(folder / f"warped_{name}.nii.gz"))
    return seconds


def greedy(folder, metric="NCC 2x2x2"):
    """picsl-greedy: affine, then deformable with the settings of its documentation."""
    from picsl_greedy import Greedy3D

    tool = Greedy3D()
    images = f"-i {folder}/fixed.nii.gz {folder}/moving.nii.gz"
    affine, warp = folder / "affine.mat", folder / "warp.nii.gz"
    smallest = min(_image(folder / "fixed.nii.gz").GetSize())
    levels = "100x50x10" if smallest >= 48 else "50x10"
    began = time.process_time()
    tool.execute(f"-d 3 -a -m {metric} {images} -o {affine} -ia-image-centers -n {levels}")
    tool.execute(f"-d 3 -m {metric} {images} -it {affine} -o {warp} -n {levels} -s 2.0vox 0.5vox")
    seconds = time.process_time() - began
    for name in CARRIED:
        how = "NN" if name == "labels" else "LINEAR"
        moved = f"-ri {how} -rm {folder}/{name}.nii.gz {folder}/warped_{name}.nii.gz"
        tool.execute(f"-d 3 -rf {folder}/fixed.nii.gz {moved} -r {warp} {affine}")
    return seconds


def demons(folder):
    """SimpleITK: an affine map by mutual information, then diffeomorphic demons of matched intensities."""
    import SimpleITK

    fixed, moving = _image(folder / "fixed.nii.gz"), _image(folder / "moving.nii.gz")
    began = time.process_time()
    affine = _affine(fixed, moving)
    matched = SimpleITK.HistogramMatching(SimpleITK.Resample(moving, fixed, affine), fixed, 256, 7, True)
    field = None
    for shrink, iterations in ((4, 80), (2, 40), (1, 10)):
        level = [_coarser(image, shrink) for image in (fixed, matched)]
        tool = SimpleITK.DiffeomorphicDemonsRegistrationFilter()
        tool.SetNumberOfIterations(iterations)
        tool.SetStandardDeviations([1.5 * size for size in level[0].GetSpacing()])
        tool.SetSmoothDisplacementField(True)
        field = tool.Execute(*level) if field is None else tool.Execute(*level, SimpleITK.Resample(field, level[0]))
    seconds = time.process_time() - began
    deformation = SimpleITK.DisplacementFieldTransform(SimpleITK.Cast(field, SimpleITK.sitkVectorFloat64))
    # The last one is applied first.
    transform = SimpleITK.CompositeTransform([affine, deformation])
    for name in CARRIED:
        how = SimpleITK.sitkNearestNeighbor if name == "labels" else SimpleITK.sitkLinear
        out = SimpleITK.Resample(_image(folder / f"{name}.nii.gz"), fixed, transform, how)
        SimpleITK.WriteImage(out, str(folder / f"warped_{name}.nii.gz"))
    return seconds


def elastix(folder):
    """itk-elastix: affine and B-spline with the default parameters."""
    import itk

    fixed, moving = (itk.imread(str(folder / f"{name}.nii.gz"), itk.F) for name in ("fixed", "moving"))
    parameters = itk.ParameterObject.New()
    for kind in ("affine", "bspline"):
        parameters.AddParameterMap(parameters.GetDefaultParameterMap(kind))
    began = time.process_time()
    _, found = itk.elastix_registration_method(fixed, moving, parameter_object=parameters, log_to_console=False)
    seconds = time.process_time() - began
    for name in CARRIED:
        order = "0" if name == "labels" else "1"
        for index in range(found.GetNumberOfParameterMaps()):
            found.SetParameter(index, "FinalBSplineInterpolationOrder", order)
        image = itk.imread(str(folder / f"{name}.nii.gz"), itk.F)
        itk.imwrite(itk.transformix_filter(image, found), str(folder / f"warped_{name}.nii.gz"))
    return seconds


def _affine(fixed, moving):
    import SimpleITK

    centre = SimpleITK.CenteredTransformInitializerFilter.GEOMETRY
    start = SimpleITK.CenteredTransformInitializer(fixed, moving, SimpleITK.AffineTransform(3), centre)
    tool = SimpleITK.ImageRegistrationMethod()
    tool.SetMetricAsMattesMutualInformation(32)
    tool.SetInterpolator(SimpleITK.sitkLinear)
    tool.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100)
    tool.SetOptimizerScalesFromPhysicalShift()
    tool.SetShrinkFactorsPerLevel([4, 2])
    tool.SetSmoothingSigmasPerLevel([2, 1])
    tool.SetInitialTransform(start)
    return tool.Execute(fixed, moving)


def _image(path):
    import SimpleITK

    return SimpleITK.ReadImage(str(path), SimpleITK.sitkFloat32)


def _coarser(image, shrink):
    import SimpleITK

    factors = [max(1, min(shrink, count // 8)) for count in image.GetSize()]
    spacing = image.GetSpacing()
    widths = [0.5 * f * size if f > 1 else 1e-3 for f, size in zip(factors, spacing, strict=True)]
    return SimpleITK.Shrink(SimpleITK.SmoothingRecursiveGaussian(image, widths), factors)


METHODS = {
    "ants-syn": ants,
    "ants-syn-cc": lambda folder: ants(folder, "CC"),
    "greedy": greedy,
    "greedy-mi": lambda folder: greedy(folder, "NMI"),
    "demons": demons,
    "elastix": elastix,
}

if __name__ == "__main__":
    spent = METHODS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"seconds": spent, "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
