"""Volumes with a known answer, and the shortest way to segment them."""

import numpy as np

from voxelsmith.core.affine import Affine
from voxelsmith.core.progress import run_job
from voxelsmith.core.prompts import ObjectPrompts
from voxelsmith.core.volume import Volume
from voxelsmith.segment.engine import PromptRequest
from voxelsmith.segment.training_free import TrainingFreeEngine


def ball(shape, centre, radius_mm, spacing=(1, 1, 1)):
    """Mask of a ball; the centre is in voxels, the radius in millimetres."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return np.linalg.norm((index - centre) * spacing, axis=-1) <= radius_mm


def noisy(mask, contrast=100.0, noise=20.0, seed=0, spacing=(1, 1, 1)):
    """A bright object in Gaussian noise."""
    array = mask * contrast + np.random.default_rng(seed).normal(200, noise, mask.shape)
    return Volume(array.astype(np.float32), Affine.from_spacing(spacing))


def answer(image, *prompts, engine=None):
    """The segmentation of these prompts, by the training-free engine unless there is another one."""
    return run_job((engine or TrainingFreeEngine()).segment(PromptRequest(image, ObjectPrompts(prompts))))


def mask_of(image, *prompts, engine=None):
    """The mask of these prompts on the whole image, by the same."""
    return answer(image, *prompts, engine=engine).on_grid()
