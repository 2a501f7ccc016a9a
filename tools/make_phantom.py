"""Make the four-modality glioma phantom of the sample data.

Owns a numerical head: an anatomy built from ellipsoids, folded cortex and ventricles, a tumour with necrotic core,
enhancing ring and finger-like oedema that pushes its surroundings away, and the appearance of all that on T1, T1 with
contrast, T2 and FLAIR with partial volume, bias field and Rician noise. No patient is behind it: it shows how the tools
work and has exact truth, but says nothing about how well they do on people. The same seed gives the same voxels.

Run ``python tools/make_phantom.py OUT_DIR`` to write ``glioma_phantom_{t1,t1c,t2,flair,label}.nii.gz``.
"""

from __future__ import annotations

import argparse
import gzip
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

SHAPE = (96, 112, 96)
SPACING_MM = 2.0
ORIGIN_MM = (-95.0, -121.0, -92.0)
FINE = 2  # The anatomy is drawn on a grid this many times finer, so that voxels on a border mix tissues.

CSF, GREY, WHITE, DEEP_GREY, NECROSIS, OEDEMA, ENHANCING, VESSEL = range(1, 9)
LABELS = {NECROSIS: 1, OEDEMA: 2, ENHANCING: 4}

# Signal of each tissue, white matter of T1 near 1; columns in the order of the classes above.
CONTRAST = {
    "t1": (0.24, 0.62, 0.92, 0.70, 0.36, 0.64, 0.60, 0.40),
    "t1c": (0.24, 0.64, 0.92, 0.72, 0.34, 0.64, 1.35, 1.50),
    "t2": (1.40, 0.74, 0.50, 0.62, 1.25, 1.00, 0.84, 0.30),
    "flair": (0.14, 0.66, 0.50, 0.60, 0.42, 1.05, 0.86, 0.35),
}
INTENSITY_SCALE = {"t1": 520.0, "t1c": 610.0, "t2": 700.0, "flair": 480.0}
NOISE = 0.022
TUMOUR_CENTRE_MM = np.array([31.0, -14.0, 24.0])
TUMOUR_RADIUS_MM = 17.0


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Gaussian random field with zero mean, unit deviation and correlation length ``sigma`` voxels."""
    step = max(1, int(sigma / 2))
    coarse = rng.standard_normal([int(np.ceil(n / step)) + 3 for n in shape]).astype(np.float32)
    coarse = ndimage.gaussian_filter(coarse, sigma / step, mode="wrap")
    field = coarse
    if step > 1:
        axes = np.meshgrid(*[np.arange(n, dtype=np.float32) / step + 1 for n in shape], indexing="ij", sparse=True)
        field = ndimage.map_coordinates(coarse, np.broadcast_arrays(*axes), order=1)
    field = field[tuple(slice(n) for n in shape)]
    return (field - field.mean()) / field.std()


def ellipsoid(xyz: list[np.ndarray], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Normalised radius: below 1 inside."""
    return np.sqrt(sum(((a - c) / r) ** 2 for a, c, r in zip(xyz, centre, radii, strict=True)))


def tube(xyz: list[np.ndarray], path: list[tuple[float, ...]]) -> np.ndarray:
    """Distance to a polyline of ``(x, y, z, radius)`` nodes in units of the local radius: below 1 inside."""
    best = np.full(xyz[0].shape, np.inf, dtype=np.float32)
    for a, b in pairwise(path):
        start, along = np.array(a[:3]), np.subtract(b[:3], a[:3])
        t = sum((p - s) * d for p, s, d in zip(xyz, start, along, strict=True)) / (along @ along)
        t = np.clip(t, 0, 1)
        distance = np.sqrt(sum((p - s - t * d) ** 2 for p, s, d in zip(xyz, start, along, strict=True)))
        best = np.minimum(best, distance / (a[3] + t * (b[3] - a[3])))
    return best


def displaced(rng: np.random.Generator, xyz: list[np.ndarray], radius: np.ndarray) -> list[np.ndarray]:
    """Where each point came from before natural asymmetry and the mass effect of the tumour moved it (mm)."""
    push = 8.0 * np.exp(-np.clip(radius - 0.6 * TUMOUR_RADIUS_MM, 0, None) / 20.0)
    scale = np.clip(radius - push, 0, None) / np.maximum(radius, 1e-3)
    return [
        c + (a - c) * scale + 1.6 * smooth_noise(rng, a.shape, 22) for a, c in zip(xyz, TUMOUR_CENTRE_MM, strict=True)
    ]


def brain_hull(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks of cerebrum, cerebellum and brain stem."""
    width = 69.0 - 0.10 * y * (y > 0) - 0.0004 * (y + 25) ** 2  # Narrower in front, widest behind the ears
    cerebrum = (
        np.abs(x / width) ** 2.3 + np.abs((y + 15) / 86) ** 2.2 + np.abs((z - 8) / np.where(z > 8, 66, 48)) ** 2.2
    )
    temporal = np.minimum(*(ellipsoid([x, y, z], (s * 44, -14, -26), (23, 42, 22)) for s in (-1, 1)))
    base = z > -24 - 0.10 * y + 12 * (y > 18) - 8 * (y < -75)
    cerebellum = np.minimum(*(ellipsoid([x, y, z], (s * 23, -66, -44), (31, 29, 25)) for s in (-1, 1)))
    stem = tube([x, y, z], [(0, -24, -6, 16), (0, -27, -28, 15), (0, -36, -70, 10)])
    is_cerebrum = ((cerebrum < 1) & base) | (temporal < 1)
    is_cerebellum = (cerebellum < 1) & (z < -22 + 0.125 * np.abs(x))
    return is_cerebrum, is_cerebellum & ~(is_cerebrum & (z > -26)), stem < 1


def sulci(rng: np.random.Generator, cerebrum: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Folds that run from the surface inwards: level sets of a random field on the surface, carried along depth."""
    field = smooth_noise(rng, depth.shape, 6) + 0.5 * smooth_noise(rng, depth.shape, 3.6)
    nearest = ndimage.distance_transform_edt(cerebrum, return_distances=False, return_indices=True)
    bend = [2.5 * smooth_noise(rng, depth.shape, 7) * np.clip(depth / 12, 0, 1) for _ in range(3)]
    at = [np.clip(n + b, 0, s - 1).astype(np.intp) for n, b, s in zip(nearest, bend, depth.shape, strict=True)]
    carried = ndimage.gaussian_filter(field[tuple(at)], 0.8)
    slope = np.sqrt(sum(g**2 for g in np.gradient(carried)))
    to_fold = np.abs(carried) / np.maximum(slope, 0.04)
    deepest = 17.0 + 5.0 * smooth_noise(rng, depth.shape, 9)
    return cerebrum & (to_fold < np.clip(1.3 - 0.05 * depth, 0.5, None)) & (depth < deepest)


def ventricles(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Lateral, third and fourth ventricles."""
    inside = tube([x, y, z], [(0, 6, -3, 2.2), (0, -10, 4, 2.4), (0, -28, 2, 2.0)]) < 1
    inside |= ellipsoid([x, y, z], (0, -45, -38), (7, 5, 9)) < 1
    for s in (-1, 1):
        body = [(s * 9, 34, 6, 3), (s * 8, 20, 13, 5.5), (s * 9, 0, 22, 5), (s * 14, -24, 23, 5.5)]
        horns = [(s * 14, -24, 23, 5.5), (s * 26, -42, 12, 7), (s * 35, -28, -8, 3.5), (s * 34, -8, -19, 2.5)]
        inside |= tube([x, y, z], body) < 1
        inside |= tube([x, y, z], horns) < 1
        inside |= tube([x, y, z], [(s * 25, -44, 12, 6), (s * 24, -70, 8, 2)]) < 1
    return inside


def deep_nuclei(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Thalamus, caudate and lentiform nucleus of both sides."""
    inside = np.zeros(x.shape, dtype=bool)
    for s in (-1, 1):
        inside |= ellipsoid([x, y, z], (s * 11, -17, 8), (9, 14, 9)) < 1
        inside |= tube([x, y, z], [(s * 14, 20, 4, 7), (s * 15, 6, 16, 5), (s * 20, -16, 22, 3)]) < 1
        inside |= ellipsoid([x - s * 0.25 * (y - 2), y, z], (s * 26, 2, 2), (7, 17, 10)) < 1
    return inside


def anatomy(rng: np.random.Generator, xyz: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Tissue classes without oedema, and the brain mask, on the fine grid (1 mm voxels)."""
    radius = np.sqrt(sum((a - c) ** 2 for a, c in zip(xyz, TUMOUR_CENTRE_MM, strict=True)))
    x, y, z = displaced(rng, xyz, radius)
    cerebrum, cerebellum, stem = brain_hull(x, y, z)
    brain = ndimage.binary_closing(np.pad(cerebrum | cerebellum | stem, 6), iterations=5)[6:-6, 6:-6, 6:-6]
    depth = ndimage.distance_transform_edt(cerebrum)

    fissure = (np.abs(x) < 1.3) & cerebrum & ((ellipsoid([x, y, z], (0, -10, 8), (99, 44, 24)) > 1) & (z > -30))
    cleft = z + 12 - 0.35 * (y + 10) - 0.35 * (np.abs(x) - 36) + 3 * smooth_noise(rng, depth.shape, 9)
    sylvian = (np.abs(cleft) < 1.1) & (np.abs(x) > 36 + 0.2 * np.abs(y + 10)) & (y < 20) & (y > -46)
    folds = sulci(rng, cerebrum, depth) | fissure | (sylvian & cerebrum)
    rim = (depth < 1.6) & cerebrum
    outside = ~cerebrum | folds | rim

    cortex = ndimage.distance_transform_edt(~outside) < 3.8 + 0.5 * smooth_noise(rng, depth.shape, 5)
    tissue = np.zeros(depth.shape, dtype=np.uint8)
    tissue[brain] = CSF
    tissue[cerebrum & ~outside] = WHITE
    tissue[cerebrum & ~outside & cortex] = GREY

    hub = ellipsoid([x, y, z], (0, -46, -40), (1, 1, 1))
    folia = np.cos(2 * np.pi * (hub + 1.5 * smooth_noise(rng, depth.shape, 6)) / 6.5)
    inner = ndimage.distance_transform_edt(cerebellum)
    tissue[cerebellum] = GREY
    tissue[cerebellum & (folia > 0.8) & (inner < 7)] = CSF
    tissue[cerebellum & ((inner > 13) | ((folia < -0.6) & (inner > 5)))] = WHITE
    tissue[stem] = WHITE

    core = (cerebrum | stem) & (depth > 8)
    bridge = core & (ellipsoid([x, y, z], (0, -10, 6), (28, 40, 22)) < 1)  # Callosum and capsules around the nuclei
    tissue[bridge] = WHITE
    tissue[core & deep_nuclei(x, y, z)] = DEEP_GREY
    tissue[brain & ventricles(x, y, z)] = CSF

    sinus = tube([x, y, z], [(0, 60, 40, 2.2), (0, 20, 72, 2.6), (0, -40, 71, 3), (0, -92, 30, 3.2), (0, -98, 2, 3)])
    vessels = folds & (smooth_noise(rng, depth.shape, 5) > 1.9)
    tissue[brain & ((sinus < 1) | vessels) & (tissue == CSF)] = VESSEL
    return tissue, brain


def add_tumour(rng: np.random.Generator, tissue: np.ndarray, xyz: list[np.ndarray]) -> None:
    """Write necrosis, enhancing ring and oedema into the tissue classes, in place."""
    offset = [a - c for a, c in zip(xyz, TUMOUR_CENTRE_MM, strict=True)]
    radius = np.sqrt(offset[0] ** 2 + (offset[1] / 1.15) ** 2 + (offset[2] / 0.95) ** 2)
    lobes = smooth_noise(rng, tissue.shape, 7)
    shell = radius + 2.6 * lobes + 0.8 * smooth_noise(rng, tissue.shape, 3)
    hollow = radius + 2.0 * smooth_noise(rng, tissue.shape, 6) + 1.0 * smooth_noise(rng, tissue.shape, 2.5)
    parenchyma = (tissue != 0) & (tissue != VESSEL)
    fingers = (radius + 5.5 * smooth_noise(rng, tissue.shape, 9)) < 2.0 * TUMOUR_RADIUS_MM
    swollen = fingers & (tissue == WHITE) & (ndimage.gaussian_filter((tissue == WHITE).astype(np.float32), 1.5) > 0.45)
    solid = parenchyma & (shell < TUMOUR_RADIUS_MM)
    # The ring is nowhere thinner than a millimetre or two: the core keeps clear of the outer border.
    dead = solid & (hollow < 0.62 * TUMOUR_RADIUS_MM) & (ndimage.distance_transform_edt(solid) > 2.5)
    tissue[swollen] = OEDEMA
    tissue[solid] = ENHANCING
    tissue[dead] = NECROSIS


def block_mean(array: np.ndarray) -> np.ndarray:
    """Average of FINE x FINE x FINE blocks."""
    i, j, k = SHAPE
    return array.reshape(i, FINE, j, FINE, k, FINE).mean(axis=(1, 3, 5))


def render(rng: np.random.Generator, tissue: np.ndarray, brain: np.ndarray, modality: str) -> np.ndarray:
    """One modality as int16 on the coarse grid, zero outside the brain."""
    signal = np.array((0.0, *CONTRAST[modality]), dtype=np.float32)[tissue]
    tumour = np.isin(tissue, list(LABELS))
    texture = 0.015 * smooth_noise(rng, tissue.shape, 2) + 0.02 * smooth_noise(rng, tissue.shape, 6)
    patchy = 0.10 * smooth_noise(rng, tissue.shape, 3) * tumour
    signal = ndimage.gaussian_filter(signal * (1 + texture + patchy), 0.6)
    image = block_mean(signal) * np.exp(0.10 * smooth_noise(rng, SHAPE, 22))
    real, imaginary = NOISE * rng.standard_normal((2, *SHAPE))
    image = np.hypot(image + real, imaginary) * brain
    return np.round(image * INTENSITY_SCALE[modality]).astype(np.int16)


def make_phantom(seed: int = 7) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Build the phantom.

    Returns
    -------
    images : dict of int16 arrays, shape (96, 112, 96), axes (i, j, k) along R, A, S
        By modality: t1, t1c, t2, flair.
    labels : uint8 array of the same shape
        BraTS convention: 1 necrosis, 2 oedema, 4 enhancing tumour.
    affine : float array, shape (4, 4)
        Voxel indices to RAS millimetres.
    """
    rng = np.random.default_rng(seed)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[:3, 3] = ORIGIN_MM
    first = [o - SPACING_MM / 2 + SPACING_MM / FINE / 2 for o in ORIGIN_MM]
    axes = [f + SPACING_MM / FINE * np.arange(n * FINE, dtype=np.float32) for f, n in zip(first, SHAPE, strict=True)]
    xyz = [np.asarray(a, dtype=np.float32) for a in np.meshgrid(*axes, indexing="ij")]
    tissue, brain = anatomy(rng, xyz)
    add_tumour(rng, tissue, xyz)
    shares = {0: block_mean(~np.isin(tissue, list(LABELS)))}
    shares |= {value: block_mean(tissue == kind) for kind, value in LABELS.items()}
    labels = np.array(list(shares), dtype=np.uint8)[np.argmax(list(shares.values()), axis=0)]
    mask = block_mean(brain) >= 0.5
    images = {modality: render(rng, tissue, mask, modality) for modality in CONTRAST}
    return images, labels * mask, affine


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray, code: int) -> None:
    """Write a compressed NIfTI-1 file; the same input gives the same bytes.

    Parameters
    ----------
    path
        File to write, ending in ``.nii.gz``.
    array
        Voxels, shape (I, J, K).
    affine : float array, shape (4, 4)
        Voxel indices to RAS millimetres; goes to both qform and sform.
    code
        NIfTI code of that space: 1 scanner, 4 MNI.
    """
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code=code)
    image.set_sform(affine, code=code)
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=9, mtime=0))


def write_phantom(out_dir: Path, seed: int = 7) -> None:
    """Write the four modalities and the labels into ``out_dir``."""
    images, labels, affine = make_phantom(seed)
    out_dir.mkdir(parents=True, exist_ok=True)
    for name, array in {**images, "label": labels}.items():
        save_nifti(out_dir / f"glioma_phantom_{name}.nii.gz", array, affine, code=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=write_phantom.__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    write_phantom(arguments.out_dir, arguments.seed)
