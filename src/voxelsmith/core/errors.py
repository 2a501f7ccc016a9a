"""The exception tree.

Owns every error that a user can cause. The message is one sentence or two: what was expected, what came, what to do.
The command line turns these into exit status 2, napari into a notification; anything else is a defect of ours.
"""


class VoxelsmithError(Exception):
    """Root of the tree; never raised itself."""


class FormatError(VoxelsmithError):
    """A file cannot be read, is damaged, or its format cannot hold what is asked of it."""


class GeometryError(VoxelsmithError):
    """A grid, an affine or a spacing is unusable, or two grids that must agree do not."""


class InputError(VoxelsmithError):
    """Voxel values, shapes or parameters are outside what the operation accepts."""


class PromptError(InputError):
    """A prompt is empty, outside the image, or contradicts another one."""


class ModelUnavailableError(VoxelsmithError):
    """A model or an optional package that the operation needs is not at hand."""


class ResourceError(VoxelsmithError):
    """The machine refused: the disk is full, the target is read-only, memory ran out."""


class StaleResultError(VoxelsmithError):
    """A result belongs to data that has since gone or changed."""
