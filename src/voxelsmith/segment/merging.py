"""Merging voxels into regions along edges: the compiled part of Felzenszwalb and Huttenlocher's segmentation.

Owns the sorting of edges and the union-find forest, loops that neither numpy nor scipy offers. numba compiles them on
first use and keeps the result on disk; it is imported with this module, so callers import the module where they use it.

An edge is named by ``axis * voxels + start``, where ``start`` is the flat index of its first voxel.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from voxelsmith.core.prompts import Grid

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.int32]
IndexArray = npt.NDArray[np.signedinteger]
_DIGITS = 1 << 16


def merge(weights: FloatArray, grid: Grid, scale: float, min_size: int) -> LabelArray:
    """Merge the voxels of a grid, lightest edge first.

    Parameters
    ----------
    weights : array, shape (3, I, J, K)
        Weight of the edge from each voxel to the next along each axis; infinite where there is none.
    grid
        I, J and K.
    scale, min_size
        As for :func:`voxelsmith.segment.pseudo_masks.felzenszwalb`.

    Returns
    -------
    int32 array, shape (I, J, K)
        Regions 0, 1, ... in the order of their first voxels.
    """
    index: np.dtype[np.signedinteger] = np.dtype(np.int32 if weights.size <= np.iinfo(np.int32).max else np.int64)
    strides = np.array([grid[1] * grid[2], grid[2], 1], dtype=index)
    flat = np.ravel(weights)
    edges = ascending(flat, np.flatnonzero(flat < np.inf).astype(index))
    labels: LabelArray = _merge(flat, edges, strides, math.prod(grid), float(scale), min_size)
    return labels.reshape(grid)


def ascending(weights: FloatArray, edges: IndexArray) -> IndexArray:
    """The edges by their weights, which are not negative, lightest first and ties in their order."""
    bits = weights.view(np.uint32)  # which sort as the numbers do, unless these are negative
    spare = np.empty_like(edges)
    _sort_by_digit(bits, 0, edges, spare)
    _sort_by_digit(bits, 16, spare, edges)
    return edges


@njit(cache=True, nogil=True)
def _sort_by_digit(bits: npt.NDArray[np.uint32], shift: int, edges: IndexArray, out: IndexArray) -> None:
    """Write ``edges`` to ``out``, stably sorted by sixteen bits of their weight."""
    start = np.zeros(_DIGITS + 1, dtype=np.int64)
    for edge in edges:
        start[((bits[edge] >> shift) & (_DIGITS - 1)) + 1] += 1
    start = np.cumsum(start)
    for edge in edges:
        digit = (bits[edge] >> shift) & (_DIGITS - 1)
        out[start[digit]] = edge
        start[digit] += 1


@njit(cache=True, nogil=True)
def _root(parent: IndexArray, voxel: int) -> int:
    while parent[voxel] != voxel:
        parent[voxel] = parent[parent[voxel]]
        voxel = parent[voxel]
    return voxel


@njit(cache=True, nogil=True)
def _merge(
    weights: FloatArray, edges: IndexArray, strides: IndexArray, voxels: int, scale: float, min_size: int
) -> LabelArray:
    parent = np.arange(voxels, dtype=strides.dtype)
    # Of each root: the voxels of its region, and the heaviest edge along which it may still be merged.
    size = np.ones(voxels, dtype=strides.dtype)
    bound = np.full(voxels, scale, dtype=np.float64)
    for adaptive in (True, False):
        for edge in edges:
            start = edge % voxels
            a = _root(parent, start)
            b = _root(parent, start + strides[edge // voxels])
            if a == b:
                continue
            wanted = weights[edge] <= min(bound[a], bound[b]) if adaptive else min(size[a], size[b]) < min_size
            if wanted:
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
                bound[a] = weights[edge] + scale / size[a]
    number = np.full(voxels, -1, dtype=np.int32)
    labels = np.empty(voxels, dtype=np.int32)
    count = 0
    for voxel in range(voxels):
        root = _root(parent, voxel)
        if number[root] < 0:
            number[root] = count
            count += 1
        labels[voxel] = number[root]
    return labels
