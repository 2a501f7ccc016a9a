"""OME-Zarr: lazy, with its pyramid, scaled as its metadata say, in both versions."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.core.volume import LabelVolume
from voxelsmith.io import read, read_labels, write

DATA = np.random.default_rng(4).integers(0, 4000, (4, 6, 8)).astype(np.uint16)
UNITS = {"z": "micrometer", "y": "micrometer", "x": "micrometer"}
KINDS = {"t": "time", "c": "channel"}


def axis(name: str, units=UNITS) -> dict[str, str]:
    out = {"name": name, "type": KINDS.get(name, "space")}
    return out | ({"unit": units[name]} if name in units else {})


def store(path, array=DATA, names="zyx", version="0.5", scale=None, overall=(), units=UNITS, **attributes):
    """An image of two levels; scale and translation are per axis."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    scale = [0.5] * array.ndim if scale is None else list(scale)
    datasets = []
    for level in (0, 1):
        data = array[..., :: level + 1, :: level + 1]
        group.create_array(str(level), shape=data.shape, dtype=data.dtype, chunks=(2,) * data.ndim)[...] = data
        factors = [1] * (array.ndim - 2) + [level + 1] * 2
        step = {"type": "scale", "scale": [s * f for s, f in zip(scale, factors, strict=True)]}
        datasets.append({"path": str(level), "coordinateTransformations": [step]})
    about = {"multiscales": [{"axes": [axis(n, units) for n in names], "datasets": datasets}], **attributes}
    if overall:
        about["multiscales"][0]["coordinateTransformations"] = list(overall)
    group.attrs.update({"ome": {"version": "0.5", **about}} if version == "0.5" else about)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
class TestBothVersions:
    def test_are_lazy_and_in_order(self, tmp_path, version):
        volume = read(store(tmp_path / "a.zarr", version=version))
        assert isinstance(volume.array, da.Array)
        assert np.array_equal(volume.array.compute(), DATA.transpose(2, 1, 0))

    def test_carry_scale_and_units(self, tmp_path, version):
        volume = read(store(tmp_path / "a.zarr", version=version, scale=(3, 0.25, 0.5)))
        np.testing.assert_allclose(volume.spacing, (5e-4, 2.5e-4, 3e-3))
        assert volume.units == "um"
        assert volume.affine.axcodes == "LPS"

    def test_keep_the_pyramid(self, tmp_path, version):
        levels = read(store(tmp_path / "a.zarr", version=version)).metadata["levels"]
        assert [level.shape for level in levels] == [(8, 6, 4), (4, 3, 4)]
        assert all(isinstance(level, da.Array) for level in levels)

    def test_have_labels_as_labels(self, tmp_path, version):
        store(tmp_path / "a.zarr", version=version)
        by_place = read(store(tmp_path / "a.zarr" / "labels" / "cells", version=version))
        by_attribute = read(store(tmp_path / "b.zarr", version=version, **{"image-label": {"version": version}}))
        assert isinstance(by_place, LabelVolume)
        assert isinstance(by_attribute, LabelVolume)
        assert isinstance(by_place.array, da.Array)


class TestGeometry:
    def test_combines_all_transformations(self, tmp_path):
        overall = ({"type": "scale", "scale": [2, 2, 2]}, {"type": "translation", "translation": [30, 20, 10]})
        volume = read(store(tmp_path / "a.zarr", scale=(3, 1, 1), overall=overall))
        np.testing.assert_allclose(volume.spacing, (2e-3, 2e-3, 6e-3))
        np.testing.assert_allclose(volume.affine.lps[:3, 3], (0.01, 0.02, 0.03))

    def test_mixes_units(self, tmp_path):
        units = {"z": "millimeter", "y": "nanometer", "x": "micrometer"}
        np.testing.assert_allclose(
            read(store(tmp_path / "a.zarr", scale=(1, 500, 0.5), units=units)).spacing, (5e-4, 5e-4, 1)
        )

    def test_without_units_is_in_micrometres(self, tmp_path):
        volume = read(store(tmp_path / "a.zarr", units={}))
        np.testing.assert_allclose(volume.spacing, 5e-4)
        assert "micrometres" in volume.history[0]

    def test_needs_positive_sizes(self, tmp_path):
        with pytest.raises(GeometryError, match="positive"):
            read(store(tmp_path / "a.zarr", scale=(0, 1, 1)))

    def test_refuses_transformations_it_does_not_know(self, tmp_path):
        with pytest.raises(FormatError, match="rotation"):
            read(store(tmp_path / "a.zarr", overall=({"type": "rotation", "rotation": [1]},)))


class TestAxes:
    @pytest.mark.parametrize(
        ("names", "shape", "expected", "extra_axis"),
        [
            ("yx", (6, 8), (8, 6, 1), None),
            ("cyx", (3, 6, 8), (8, 6, 1, 3), "channel"),
            ("tczyx", (1, 3, 4, 6, 8), (8, 6, 4, 3), "channel"),
            ("tczyx", (5, 1, 4, 6, 8), (8, 6, 4, 5), "time"),
            ("tczyx", (1, 1, 4, 6, 8), (8, 6, 4), None),
            ("zcyx", (1, 3, 6, 8), (8, 6, 1, 3), "channel"),
        ],
    )
    def test_become_three_and_one_more(self, tmp_path, names, shape, expected, extra_axis):
        volume = read(store(tmp_path / "a.zarr", np.zeros(shape, np.uint8), names))
        assert volume.array.shape == expected
        assert volume.extra_axis == extra_axis

    def test_of_time_and_channel_together_are_refused(self, tmp_path):
        with pytest.raises(FormatError, match="t=2, c=3"):
            read(store(tmp_path / "a.zarr", np.zeros((2, 3, 2, 2, 2), np.uint8), "tczyx"))


class TestOtherFolders:
    def test_of_several_labels_are_told(self, tmp_path):
        group = zarr.open_group(tmp_path / "a.zarr" / "labels", mode="w")
        group.attrs["ome"] = {"version": "0.5", "labels": ["cells", "nuclei"]}
        with pytest.raises(FormatError, match="cells, nuclei"):
            read(tmp_path / "a.zarr" / "labels")

    def test_of_plain_zarr_are_told(self, tmp_path):
        zarr.open_group(tmp_path / "a.zarr", mode="w")
        with pytest.raises(FormatError, match="multiscales"):
            read(tmp_path / "a.zarr")

    def test_of_nothing_at_all_are_told(self, tmp_path):
        (tmp_path / "a.zarr").mkdir()
        with pytest.raises(FormatError, match=r"a\.zarr"):
            read(tmp_path / "a.zarr")

    def test_that_lack_an_array_are_told(self, tmp_path):
        path = store(tmp_path / "a.zarr")
        (path / "1" / "zarr.json").unlink()
        with pytest.raises(FormatError, match="not there"):
            read(path)

    def test_of_bio_formats_are_entered(self, tmp_path):
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
        group.attrs["bioformats2raw.layout"] = 3
        store(tmp_path / "a.zarr" / "0", version="0.4")
        assert read(tmp_path / "a.zarr").grid == (8, 6, 4)


def test_lazy_volumes_can_be_saved_and_read_as_labels(tmp_path):
    path = store(tmp_path / "a.zarr")
    assert np.array_equal(read(write(read(path), tmp_path / "a.nii.gz")).array, DATA.transpose(2, 1, 0))
    assert read_labels(path).array.dtype == np.uint16
