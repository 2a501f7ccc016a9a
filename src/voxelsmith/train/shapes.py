"""Solid shapes: what organs, lesions, cells and tissues look like, painted on a canvas.

Owns one painter a kind: regions, ellipsoids, shells with a lumen, nested structures, lobes split by planes, touching
cells, thin sheets. All but the regions are made from one thing, an ellipsoid with an uneven surface. Tubes and trees
are in :mod:`~voxelsmith.train.vessels`.
"""

from __future__ import annotations

import numpy as np

from voxelsmith.train.canvas import Canvas, Window, boundaries
from voxelsmith.train.noise import noise_regions
from voxelsmith.train.sample import Field, Vector


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two positive ones whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def random_axes(rng: np.random.Generator) -> Vector:
    """Three orthogonal directions, the rows of a 3x3 matrix, any orientation as likely as any other."""
    axes: Vector = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return axes


def ellipsoid(
    rng: np.random.Generator, canvas: Canvas, centre: Vector, radii: Vector, roughness: float
) -> tuple[Window, Field]:
    """How deep voxels lie in a randomly turned ellipsoid.

    Parameters
    ----------
    rng
        Where the randomness comes from.
    canvas
        Gives the grid and the relief of the surface.
    centre, radii : array of float, shape (3,)
        In millimetres from the grid's corner, and along the ellipsoid's own axes.
    roughness
        Strength of the relief relative to the radii, 0 to about 0.3.

    Returns
    -------
    window, radius
        The part of the grid that holds the ellipsoid, and there the radius: 0 in the centre, below 1 inside.
    """
    axes = random_axes(rng)
    reach = np.linalg.norm(axes * radii[:, None], axis=0) * (1 + 2 * roughness)
    window = canvas.window(centre, np.maximum(reach, canvas.spacing))
    x, y, z = window.offsets
    radius = np.zeros(canvas.tissues[window.slices].shape, dtype=np.float32)
    for a, b, c in (axes / radii[:, None]).astype(np.float32):
        radius += np.square((a * x + b * y) + c * z)
    np.sqrt(radius, out=radius)
    if roughness:
        radius += np.float32(roughness) * canvas.relief[window.slices]
    return window, radius


def random_ellipsoid(rng: np.random.Generator, canvas: Canvas, low: float, high: float) -> tuple[Window, Field]:
    """An ellipsoid somewhere on the canvas, ``low`` to ``high`` times its span in radius."""
    radius = canvas.span * log_uniform(rng, low, high)
    radii = radius * np.exp(rng.uniform(-0.45, 0.45, 3))
    return ellipsoid(rng, canvas, rng.uniform(0.05, 0.95, 3) * canvas.extent, radii, rng.choice([0, 0.06, 0.15, 0.25]))


def paint_regions(rng: np.random.Generator, canvas: Canvas) -> None:
    """Divide a body, or all there is, into regions; some of them stay unpainted."""
    count = int(rng.integers(4, 11))
    owner = noise_regions(rng, canvas.grid, canvas.spacing, count, canvas.span * rng.uniform(0.18, 0.45))
    window, radius = canvas.whole(), None
    if rng.random() < 0.5:
        middle = canvas.extent * rng.uniform(0.4, 0.6, 3)
        window, radius = ellipsoid(rng, canvas, middle, canvas.extent * rng.uniform(0.35, 0.6), 0.1)
    for index in range(count):
        if rng.random() < 0.75:
            mask = owner[window.slices] == index
            canvas.paint(window, mask if radius is None else mask & (radius < 1), canvas.new_class())


def paint_organ(rng: np.random.Generator, canvas: Canvas) -> None:
    """One large or middling solid object."""
    window, radius = random_ellipsoid(rng, canvas, 0.08, 0.3)
    canvas.paint(window, radius < 1, canvas.new_class())


def paint_lesions(rng: np.random.Generator, canvas: Canvas) -> None:
    """Several small objects of the same class."""
    kind = canvas.new_class()
    for _ in range(int(rng.integers(1, 7))):
        window, radius = random_ellipsoid(rng, canvas, 0.025, 0.09)
        canvas.paint(window, radius < 1, kind)


def paint_shell(rng: np.random.Generator, canvas: Canvas) -> None:
    """A wall around a lumen: stomach, bladder, heart, skull."""
    window, radius = random_ellipsoid(rng, canvas, 0.1, 0.32)
    wall = canvas.new_class()
    canvas.paint(window, radius < 1, wall)
    thinnest = float(np.sort(canvas.spacing)[1]) * 2 / (canvas.span * 0.2)
    inside = radius < 1 - max(rng.uniform(0.1, 0.4), thinnest)
    canvas.paint(window, inside, wall + 1, hidden=rng.random() < 0.4)


def paint_nest(rng: np.random.Generator, canvas: Canvas) -> None:
    """Structures inside a structure: kidney and cyst, tumour and its core, grey nuclei in white matter."""
    radii = canvas.span * log_uniform(rng, 0.14, 0.35) * np.exp(rng.uniform(-0.3, 0.3, 3))
    centre = rng.uniform(0.2, 0.8, 3) * canvas.extent
    window, radius = ellipsoid(rng, canvas, centre, radii, rng.uniform(0, 0.2))
    outer = canvas.paint(window, radius < 1, canvas.new_class())
    for _ in range(int(rng.integers(1, 5))):
        within = centre + rng.uniform(-0.5, 0.5, 3) * radii.min()
        window, radius = ellipsoid(rng, canvas, within, radii * rng.uniform(0.15, 0.6, 3), rng.uniform(0, 0.2))
        mask = (radius < 1) & (canvas.tissues[window.slices] >= outer)
        canvas.paint(window, mask, canvas.new_class())


def paint_lobes(rng: np.random.Generator, canvas: Canvas) -> None:
    """An organ that curved planes split into parts, of one class or of several, with or without a fissure between."""
    window, radius = random_ellipsoid(rng, canvas, 0.15, 0.4)
    kind, alike = canvas.new_class(), rng.random() < 0.55
    fissure = np.zeros(radius.shape, dtype=bool)
    part = np.zeros(radius.shape, dtype=np.int16)
    wave = np.float32(canvas.span * rng.uniform(0, 0.05)) * canvas.relief[window.slices]
    width = 0.6 * float(np.sort(canvas.spacing)[1])
    for index, (a, b, c) in enumerate(random_axes(rng)[: int(rng.integers(1, 4))].astype(np.float32)):
        x, y, z = window.offsets
        side = ((a * x + b * y) + c * z) + wave + np.float32(canvas.span * rng.uniform(-0.08, 0.08))
        part += (side > 0).astype(np.int16) << index
        fissure |= np.abs(side) < width
    for code in np.unique(part).tolist():
        canvas.paint(window, (part == code) & (radius < 1), kind if alike else canvas.new_class())
    if rng.random() < 0.5:
        canvas.paint(window, fissure & (radius < 1), canvas.new_class(), hidden=True)


def paint_cells(rng: np.random.Generator, canvas: Canvas) -> None:
    """Cells or nuclei that touch: a loose cluster, or a tissue that they fill, with or without visible membranes."""
    count = int(rng.integers(8, 45))
    packing = rng.uniform(0.7, 1.5)
    share = rng.uniform(0.2, 1.0)
    size = canvas.span * share * (3 / (4 * np.pi * count)) ** (1 / 3) * packing
    depth = np.ones(canvas.grid, dtype=np.float32)
    owner = np.zeros(canvas.grid, dtype=np.int16)
    corner = canvas.extent * (1 - share) * rng.uniform(0, 1, 3)
    for index in range(1, count + 1):
        centre = corner + canvas.extent * share * rng.uniform(0, 1, 3)
        window, radius = ellipsoid(rng, canvas, centre, size * np.exp(rng.uniform(-0.3, 0.3, 3)), 0.08)
        nearer = radius < depth[window.slices]
        depth[window.slices][nearer] = radius[nearer]
        owner[window.slices][nearer] = index
    kind, everything = canvas.new_class(), canvas.whole()
    walls = boundaries(owner) if rng.random() < 0.5 else None
    for index in range(1, count + 1):
        canvas.paint(everything, owner == index, kind)
    if walls is not None:
        canvas.paint(everything, walls, kind + 1, hidden=True)


def paint_sheet(rng: np.random.Generator, canvas: Canvas) -> None:
    """A thin curved layer: cortex, diaphragm, cartilage, membrane."""
    size = canvas.span * rng.uniform(0.3, 0.8)
    centre = canvas.extent * rng.uniform(-0.2, 1.2, 3)
    window, radius = ellipsoid(rng, canvas, centre, size * np.exp(rng.uniform(-0.2, 0.2, 3)), rng.uniform(0, 0.12))
    thinnest = float(np.sort(canvas.spacing)[1]) * 1.5
    half = max(canvas.span * log_uniform(rng, 0.01, 0.05), thinnest) / size / 2
    x, y, z = window.offsets
    a, b, c = (rng.standard_normal(3) / canvas.span).astype(np.float32)
    end = (a * x + b * y) + c * z < rng.uniform(-0.1, 0.5)
    canvas.paint(window, (np.abs(radius - np.float32(1 - half)) < half) & end, canvas.new_class())
