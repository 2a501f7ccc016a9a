"""The tumour network: two pairs of MR sequences that are translated into each other, and fused into one answer.

The networks of cross-modality deep feature learning (Zhang et al., Pattern Recognition 110, 2021; arXiv 2201.02356): a
generator and a segmentation branch of one shape, so that what a generator learned without labels can be handed to a
branch; the branch that fuses both; the judge of the generators; and a plain network of equal size to compare with. The
paper's layer sizes could not be read; those here are our own.
"""

from voxelsmith.models.crossmodality.architecture import MODALITIES, TWO, WINDOW, Architecture, Fusion, equal_size
from voxelsmith.models.crossmodality.branch import Branch, Features
from voxelsmith.models.crossmodality.fusion import FusionBranch
from voxelsmith.models.crossmodality.network import Answer, CrossModalityNet, brain_of, probabilities
from voxelsmith.models.crossmodality.patchgan import PatchGAN

__all__ = [
    "MODALITIES",
    "TWO",
    "WINDOW",
    "Answer",
    "Architecture",
    "Branch",
    "CrossModalityNet",
    "Features",
    "Fusion",
    "FusionBranch",
    "PatchGAN",
    "brain_of",
    "equal_size",
    "probabilities",
]
