"""SegVol (Du et al., NeurIPS 2024): a 3-D vision transformer prompted by points, a box and text.

The modules are our own, written from the paper and a description of the published weights. The names and shapes of
their parameters are those of the published checkpoint, so that it loads without translation.
"""

from voxelsmith.models.segvol.architecture import Architecture
from voxelsmith.models.segvol.net import SegVolNet

__all__ = ["Architecture", "SegVolNet"]
