"""Tubes and branching trees: vessels, airways, ducts, bowel, nerves.

Owns the random path that turns slowly, and the painting of a path as a string of overlapping balls, each tested within
its own window.
"""

from __future__ import annotations

import numpy as np

from voxelsmith.train.canvas import Canvas
from voxelsmith.train.sample import Mask, Vector
from voxelsmith.train.shapes import log_uniform


def paint_tube(rng: np.random.Generator, canvas: Canvas) -> None:
    """One tube of nearly constant width, sometimes with a wall of its own around the lumen."""
    radius = canvas.span * log_uniform(rng, 0.015, 0.07)
    start = rng.uniform(0.1, 0.9, 3) * canvas.extent
    path = _walk(rng, start, _direction(rng), canvas.span * rng.uniform(0.5, 1.6), radius)
    widths = radius * (1 + 0.25 * np.sin(np.linspace(0, rng.uniform(0, 12), len(path))))
    mask = np.zeros(canvas.grid, dtype=bool)
    _string(canvas, mask, path, widths)
    kind = canvas.new_class()
    canvas.paint(canvas.whole(), mask, kind)
    if radius > 4 * float(canvas.spacing.min()) and rng.random() < 0.5:
        lumen = np.zeros(canvas.grid, dtype=bool)
        _string(canvas, lumen, path, widths * rng.uniform(0.4, 0.7))
        canvas.paint(canvas.whole(), lumen, kind + 1, hidden=rng.random() < 0.6)


def paint_tree(rng: np.random.Generator, canvas: Canvas) -> None:
    """A tree whose branches thin out, painted as one object."""
    mask = np.zeros(canvas.grid, dtype=bool)
    radius = canvas.span * log_uniform(rng, 0.02, 0.06)
    start, direction = rng.uniform(0, 1, 3) * canvas.extent, _direction(rng)
    direction *= np.sign(direction @ (canvas.extent / 2 - start))
    branches = [(start, direction, radius)]
    for _ in range(int(rng.integers(4, 16))):
        start, direction, radius = branches.pop(0)
        path = _walk(rng, start, direction, canvas.span * rng.uniform(0.15, 0.4), radius)
        _string(canvas, mask, path, np.linspace(radius, 0.8 * radius, len(path)))
        onward = path[-1] - path[-min(4, len(path))]
        for _ in range(2):
            turned = onward / max(float(np.linalg.norm(onward)), 1e-6) + 0.6 * _direction(rng)
            branches.append((path[-1], turned / np.linalg.norm(turned), radius * rng.uniform(0.6, 0.85)))
    canvas.paint(canvas.whole(), mask, canvas.new_class())


def _direction(rng: np.random.Generator) -> Vector:
    """A random unit vector."""
    vector = rng.standard_normal(3)
    unit: Vector = vector / np.linalg.norm(vector)
    return unit


def _walk(rng: np.random.Generator, start: Vector, direction: Vector, length: float, radius: float) -> Vector:
    """Points half a radius apart, shape (N, 3), whose direction turns smoothly."""
    count = int(np.clip(2 * length / radius, 4, 120))
    turns = np.cumsum(rng.standard_normal((count, 3)), axis=0) * rng.uniform(0.01, 0.12)
    headings = direction + turns
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    path: Vector = start + np.cumsum(headings, axis=0) * (length / count)
    return path


def _string(canvas: Canvas, mask: Mask, path: Vector, widths: Vector) -> None:
    """Add balls along a path to a mask; no ball is thinner than the grid can show."""
    for centre, width in zip(path, widths, strict=True):
        radii = np.maximum(width, 0.6 * canvas.spacing)
        window = canvas.window(centre, radii)
        x, y, z = (np.square(offset / np.float32(r)) for offset, r in zip(window.offsets, radii, strict=True))
        mask[window.slices] |= (x + y) + z < 1
