"""Files to volumes and back: NIfTI, NRRD, MetaImage, DICOM series, TIFF and OME-Zarr."""

from voxelsmith.io.dicom import Series, list_series
from voxelsmith.io.registry import FORMATS, READ_PATTERNS, WRITE_SUFFIXES, Format, read, read_labels, write

__all__ = [
    "FORMATS",
    "READ_PATTERNS",
    "WRITE_SUFFIXES",
    "Format",
    "Series",
    "list_series",
    "read",
    "read_labels",
    "write",
]
