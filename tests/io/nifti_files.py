"""NIfTI files with chosen header fields, for tests."""

import gzip
import io

import nibabel as nib
import numpy as np


def image(array=None, affine=None, cls=nib.Nifti1Image, **fields):
    """A nibabel image with chosen header fields."""
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4) if array is None else array
    out = cls(array, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine, dtype=array.dtype)
    for name, value in fields.items():
        out.header[name] = value
    return out


def saved(path, img):
    """Write an image without the repairs that nibabel makes while saving."""
    stream = io.BytesIO()
    header = img.header.copy()
    header["vox_offset"] = 0
    header.write_to(stream)
    data = np.asarray(img.dataobj)
    stream.write(data.astype(data.dtype.newbyteorder(header.endianness)).tobytes(order="F"))
    payload = stream.getvalue()
    path.write_bytes(gzip.compress(payload) if path.name.endswith(".gz") else payload)
    return path
