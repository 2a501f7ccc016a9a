"""Annotation-assisted segmentation and registration of 3-D volumes, for napari, Python and the command line.

Importing this package is cheap: it loads neither torch nor Qt nor napari. The parts live in
:mod:`voxelsmith.core` (what things are), :mod:`voxelsmith.io` (files), :mod:`voxelsmith.segment` (engines) and
:mod:`voxelsmith.plugin` (napari).
"""

__version__ = "0.1.0"
