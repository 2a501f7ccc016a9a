"""H-ViT (Ghahremani et al., CVPR 2024): a hierarchical vision transformer that predicts a deformation.

The modules are our own, written from a description of the published network. The names and shapes of their parameters
are those of the published code, so that its checkpoints load; see :mod:`voxelsmith.models.hvit.official`.
"""

from voxelsmith.models.hvit.architecture import Architecture
from voxelsmith.models.hvit.net import HViT

__all__ = ["Architecture", "HViT"]
