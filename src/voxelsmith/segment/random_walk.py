"""Random walker with priors.

Owns the linear system of Grady's random walker with prior models (Multilabel random walker image segmentation using
prior models, CVPR 2005): each voxel's probability is pulled towards its own evidence and towards its neighbours, across
weak edges strongly and across strong edges hardly. scipy's conjugate gradients solve it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg

FloatArray: TypeAlias = npt.NDArray[np.float32]
# Conductance across the strongest edge, so that nothing is ever cut off.
WEAKEST = 1e-3


def edge_weights(image: FloatArray, spacing: npt.NDArray[np.float64], contrast: float) -> list[FloatArray]:
    """Conductance between face neighbours along each axis.

    Parameters
    ----------
    image : array, shape (I, J, K)
        Values in about 0 to 1.
    spacing
        Voxel size in millimetres; far neighbours conduct less.
    contrast
        Weight of a squared difference; the step that counts as an edge is about ``1 / sqrt(contrast)``.

    Returns
    -------
    list of three arrays
        Along axis ``a`` the array is one shorter than the image; values lie in (0, 1].
    """
    # An axis of one voxel has no neighbours, so its spacing sets no scale.
    finest = min((h for h, n in zip(spacing, image.shape, strict=True) if n > 1), default=1.0)
    conductance = (np.exp(-contrast * np.diff(image, axis=axis) ** 2) + WEAKEST for axis in range(3))
    return [((finest / h) ** 2 * c).astype(np.float32) for h, c in zip(spacing, conductance, strict=True)]


class RandomWalk:
    """The lattice of a grid, set up once and solved for any evidence.

    Parameters
    ----------
    weights
        From :func:`edge_weights`.
    """

    def __init__(self, weights: list[FloatArray]) -> None:
        a, b, c = (w.shape[axis] + 1 for axis, w in enumerate(weights))
        self._shape = (a, b, c)
        n = a * b * c
        self._degree = np.zeros(self._shape, dtype=np.float32)
        diagonals, offsets = [], []
        for axis, (w, stride) in enumerate(zip(weights, (b * c, c, 1), strict=True)):
            if not w.size:
                continue
            ahead = np.zeros(self._shape, dtype=np.float32)
            lower = tuple(slice(None, -1) if x == axis else slice(None) for x in range(3))
            upper = tuple(slice(1, None) if x == axis else slice(None) for x in range(3))
            ahead[lower] = w
            self._degree[lower] += w
            self._degree[upper] += w
            diagonals.append(-ahead.ravel()[: n - stride])
            offsets.append(stride)
        self._off_diagonal = (diagonals * 2, [*offsets, *(-o for o in offsets)])

    def solve(
        self, evidence: FloatArray, strength: FloatArray | float, start: FloatArray, tolerance: float = 1e-3
    ) -> FloatArray:
        """Probabilities that balance evidence and neighbours.

        Parameters
        ----------
        evidence : array, shape (I, J, K)
            What each voxel would be on its own, 0 to 1.
        strength
            How firmly each voxel holds to its evidence, relative to a neighbour across no edge; very large fixes it.
        start
            First guess; a close one saves time.
        tolerance
            Residual at which to stop, relative to the evidence of voxels that are not held firmly.

        Returns
        -------
        array, shape (I, J, K)
            Float32, 0 to 1 up to the tolerance.
        """
        hold = np.broadcast_to(np.asarray(strength, dtype=np.float32), self._shape).ravel()
        diagonal = self._degree.ravel() + hold
        diagonals, offsets = self._off_diagonal
        matrix = sparse.diags([diagonal, *diagonals], [0, *offsets], format="csr", dtype=np.float32)
        jacobi = sparse.diags([1 / diagonal], [0], format="csr", dtype=np.float32)
        # Measured against the right-hand side itself, a few fixed voxels would end the search before the others settle.
        enough = tolerance * float(np.linalg.norm(np.minimum(hold, 1) * evidence.ravel()))
        right = hold * evidence.ravel()
        solution, _ = cg(matrix, right, x0=start.ravel(), rtol=0, atol=enough, maxiter=200, M=jacobi)
        out: FloatArray = solution.reshape(self._shape).astype(np.float32, copy=False)
        return out
