"""The command line in this process, and files for it."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from voxelsmith.cli import run


@pytest.fixture
def command(capsys):
    """Run a command; returns its exit status, standard output, standard error, and the JSON object if there is one."""

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        record = json.loads(out) if "--json" in arguments and out else None
        return SimpleNamespace(status=status, out=out, err=err, record=record)

    return call


@pytest.fixture
def refused(command):
    """Run a command that must end with status 2 and one sentence; returns the sentence."""

    def call(*arguments):
        done = command(*arguments)
        assert done.status == 2, done
        assert done.out == ""
        assert done.err.startswith("voxelsmith: ")
        assert done.err.count("\n") == 1
        return done.err

    return call


@pytest.fixture
def nifti(tmp_path):
    """Save an array as NIfTI with the given affine and codes; returns the path."""

    def save(array, name="image.nii.gz", affine=None, sform=1, qform=1):
        image = nib.Nifti1Image(np.asarray(array), np.eye(4) if affine is None else affine)
        image.set_sform(image.affine, sform)
        image.set_qform(image.affine, qform)
        nib.save(image, tmp_path / name)
        return tmp_path / name

    return save
