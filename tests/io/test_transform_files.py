"""Transforms in files: what SimpleITK makes of ours is our own warp; round trips; foreign and broken files."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from deformations import linear_map, oblique, positions, smooth_field, smooth_image
from voxelsmith.core.affine import Affine
from voxelsmith.core.displacement import DisplacementField
from voxelsmith.core.errors import FormatError, GeometryError, InputError, ResourceError
from voxelsmith.core.transform import Transform
from voxelsmith.core.volume import Volume
from voxelsmith.io import itk
from voxelsmith.io.transforms import learn2reg, read_transform, write_transform
from voxelsmith.io.transforms.ants import read_ants, write_ants

GRID = (18, 16, 12)
FIXED = [oblique(), oblique(flip=(-1, 1, 1)), oblique((2, 0.7, 1), angles=(70, -20, 110), flip=(1, -1, 1))]


def shift_along(axis):
    """A field of 2.3 mm along one world axis."""
    return DisplacementField(
        np.broadcast_to(np.float32(2.3) * np.eye(3, dtype=np.float32)[axis], (*GRID, 3)), oblique()
    )


def moving_image(fixed):
    """A smooth image around a fixed grid, with a geometry of its own."""
    middle = positions(fixed, GRID).mean(axis=(0, 1, 2))
    affine = oblique((1.4, 1.2, 1.3), (0, 0, 0), angles=(-10, 5, 20), flip=(1, 1, -1))
    return Volume(smooth_image((30, 30, 30)), affine.shifted(affine.inverse().apply(middle) - 14.5))


def resampled_by_itk(transform, moving, fixed):
    """The moving image on the fixed grid as SimpleITK pulls it, indexed [i, j, k]."""
    reference = itk.to_image(Volume(np.zeros(GRID, np.float32), fixed))
    image = SimpleITK.Resample(itk.to_image(moving), reference, transform, SimpleITK.sitkLinear, -1.0)
    return SimpleITK.GetArrayFromImage(image).transpose()


def assert_itk_agrees(itk_transform, transform, fixed):
    moving = moving_image(fixed)
    ours = transform.pull_image(moving, fixed, GRID, fill=-1).array
    theirs = resampled_by_itk(itk_transform, moving, fixed)
    both = (ours >= 0) & (theirs >= 0)
    assert both.mean() > 0.5
    assert ((ours >= 0) == (theirs >= 0)).mean() > 0.99
    np.testing.assert_allclose(ours[both], theirs[both], atol=2e-4)
    assert np.abs(ours[both] - resampled_by_itk(SimpleITK.Transform(), moving, fixed)[both]).max() > 0.02


def field_transform(path):
    return SimpleITK.DisplacementFieldTransform(SimpleITK.ReadImage(str(path), SimpleITK.sitkVectorFloat64))


def assert_same(a, b, x, atol=1e-4):
    np.testing.assert_allclose(a.push_points(x), b.push_points(x), atol=atol)


class TestSimpleItkAppliesOurs:
    @pytest.mark.parametrize("fixed", FIXED)
    @pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
    def test_field(self, tmp_path, fixed, ending):
        transform = Transform(linear_map((2, -3, 4), (1, 1, 1), (1, -2, 0.5)), smooth_field(fixed, GRID))
        path = write_transform(transform, tmp_path / f"warp{ending}")
        assert_itk_agrees(field_transform(path), transform, fixed)

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_shifts_along_each_axis(self, tmp_path, axis):
        transform = Transform(field=shift_along(axis))
        for name in ("a.nii.gz", "a.h5"):
            path = write_transform(transform, tmp_path / name)
            read = field_transform(path) if name == "a.nii.gz" else SimpleITK.ReadTransform(str(path))
            assert_itk_agrees(read, transform, oblique())
            start = oblique().apply((8, 8, 6)) * (-1, -1, 1)
            moved = np.array(read.TransformPoint(start.tolist())) - start
            np.testing.assert_allclose(moved * (-1, -1, 1), 2.3 * np.eye(3)[axis], atol=1e-4)

    @pytest.mark.parametrize("fixed", FIXED)
    def test_composite(self, tmp_path, fixed):
        middle = Affine.from_spacing(1, positions(fixed, GRID).mean(axis=(0, 1, 2)))
        matrix = middle.matrix @ linear_map() @ middle.inverse().matrix
        transform = Transform(matrix, smooth_field(fixed, GRID))
        path = write_transform(transform, tmp_path / "warp.h5")
        assert_itk_agrees(SimpleITK.ReadTransform(str(path)), transform, fixed)

    @pytest.mark.parametrize("ending", [".mat", ".tfm", ".h5", ".hdf5"])
    def test_affine(self, tmp_path, ending):
        path = write_transform(Transform(linear_map()), tmp_path / f"affine{ending}")
        assert_itk_agrees(SimpleITK.ReadTransform(str(path)), Transform(linear_map()), oblique())

    def test_files_of_ants_and_their_inverse(self, tmp_path):
        transform = Transform(linear_map(), smooth_field(oblique(), GRID))
        inverse, _ = transform.field.inverse()
        names = [path.name for path in write_ants(transform, tmp_path / "pair_", inverse)]
        assert names == ["pair_0GenericAffine.mat", "pair_1Warp.nii.gz", "pair_1InverseWarp.nii.gz"]
        affine = SimpleITK.ReadTransform(str(tmp_path / names[0]))
        forward = SimpleITK.CompositeTransform([affine, field_transform(tmp_path / names[1])])
        assert_itk_agrees(forward, transform, oblique())
        backward = SimpleITK.CompositeTransform([field_transform(tmp_path / names[2]), affine.GetInverse()])
        x = positions(oblique(), GRID)[5:-5, 5:-5, 4:-4].reshape(-1, 3) * (-1, -1, 1)
        back = np.array([backward.TransformPoint(forward.TransformPoint(p)) for p in x.tolist()])
        assert np.linalg.norm(back - x, axis=1).mean() < 0.08


class TestRoundTrips:
    @pytest.mark.parametrize("fixed", FIXED)
    def test_fields_as_nifti(self, tmp_path, fixed):
        field = smooth_field(fixed, GRID)
        read = read_transform(write_transform(Transform(field=field), tmp_path / "a.nii.gz")).field
        np.testing.assert_array_equal(read.array, field.array)
        assert read.affine.allclose(fixed)
        header = nib.load(tmp_path / "a.nii.gz").header
        assert header.get_data_shape() == (*GRID, 1, 3)
        assert header["intent_code"] == 1007
        assert header.get_data_dtype() == np.float32

    def test_composites(self, tmp_path):
        transform = Transform(linear_map(), smooth_field(FIXED[2], GRID))
        read = read_transform(write_transform(transform, tmp_path / "a.h5"))
        np.testing.assert_allclose(read.matrix, transform.matrix, atol=1e-12)
        np.testing.assert_array_equal(read.field.array, transform.field.array)
        assert read.field.affine.allclose(FIXED[2], 1e-9)

    @pytest.mark.parametrize("ending", [".mat", ".tfm", ".h5", ".txt"])
    def test_affine_maps(self, tmp_path, ending):
        read = read_transform(write_transform(Transform(linear_map()), tmp_path / f"a{ending}"))
        np.testing.assert_allclose(read.matrix, linear_map(), atol=1e-12)
        assert read.field is None

    def test_plain_text_is_ras_and_exact(self, tmp_path):
        path = write_transform(Transform(linear_map()), tmp_path / "a.txt")
        np.testing.assert_array_equal(np.loadtxt(path), linear_map())
        assert "RAS" in path.read_text()

    def test_files_of_ants(self, tmp_path):
        transform = Transform(linear_map(), smooth_field(oblique(), GRID))
        write_ants(transform, f"{tmp_path}/")
        assert_same(read_ants(f"{tmp_path}/"), transform, positions(oblique(), GRID))
        (tmp_path / "0GenericAffine.mat").unlink()
        assert_same(read_ants(f"{tmp_path}/"), Transform(field=transform.field), positions(oblique(), GRID))
        with pytest.raises(FormatError, match="has neither"):
            read_ants(tmp_path / "other")

    @pytest.mark.parametrize("flat", [0, 1, 2])
    @pytest.mark.parametrize("ending", [".nii.gz", ".h5", ".npz"])
    def test_grids_of_one_slice(self, tmp_path, flat, ending):
        grid = tuple(1 if axis == flat else n for axis, n in enumerate(GRID))
        transform = Transform(field=smooth_field(oblique(), grid))
        read = read_transform(write_transform(transform, tmp_path / f"a{ending}"), oblique(), grid)
        np.testing.assert_allclose(read.field.array, transform.field.array, atol=1e-5)

    def test_an_affine_map_as_a_field_on_the_grid_asked_for(self, tmp_path):
        path = write_transform(Transform(linear_map()), tmp_path / "a.nii.gz", oblique(), GRID)
        assert_same(read_transform(path), Transform(linear_map()), positions(oblique(), GRID))
        with pytest.raises(GeometryError, match="pass both"):
            write_transform(Transform(linear_map()), tmp_path / "b.nii.gz")


class TestLearn2Reg:
    def test_is_what_its_evaluation_expects(self, tmp_path):
        """Identity plus arr_0, in voxels, is where scipy reads the moving array, both images on one grid."""
        field = smooth_field(oblique(), GRID)
        moving = Volume(smooth_image(GRID), oblique())
        stored = np.load(write_transform(Transform(field=field), tmp_path / "a.npz"))["arr_0"]
        assert stored.shape == (3, *GRID)
        at = np.stack(np.meshgrid(*map(np.arange, GRID), indexing="ij")) + stored
        expected = ndimage.map_coordinates(moving.array, at, order=1, mode="nearest")
        pulled = field.pull_image(moving, fill=np.nan).array
        inside = np.isfinite(pulled)
        assert inside.mean() > 0.7
        np.testing.assert_allclose(pulled[inside], expected[inside], atol=1e-5)

    def test_there_and_back(self, tmp_path):
        field = smooth_field(oblique(), GRID)
        path = write_transform(Transform(field=field), tmp_path / "a.npz")
        np.testing.assert_allclose(read_transform(path, oblique(), GRID).field.array, field.array, atol=1e-5)

    def test_half_resolution_keeps_voxels_of_the_full_grid(self, tmp_path):
        field = smooth_field(oblique(), GRID)
        learn2reg.write(field, tmp_path / "a.npz", half_resolution=True)
        stored = np.load(tmp_path / "a.npz")["arr_0"]
        assert stored.shape == (3, 9, 8, 6)
        evaluated = np.stack([ndimage.zoom(channel, 2, order=2) for channel in stored], axis=-1)
        assert np.abs(evaluated - field.in_voxels()).mean() < 0.05
        read = read_transform(tmp_path / "a.npz", oblique(), GRID).field
        assert np.abs(read.in_voxels() - field.in_voxels()).mean() < 0.05
        with pytest.raises(GeometryError, match="even number"):
            learn2reg.write(smooth_field(oblique(), (5, 6, 6)), tmp_path / "b.npz", half_resolution=True)

    def test_the_fixed_grid_must_be_told_and_fit(self, tmp_path):
        path = write_transform(Transform(field=smooth_field(oblique(), GRID)), tmp_path / "a.npz")
        with pytest.raises(InputError, match="affine and the shape of the fixed image"):
            read_transform(path)
        with pytest.raises(GeometryError, match="that shape or half of it"):
            read_transform(path, oblique(), (18, 16, 11))


class TestForeignFiles:
    def test_composites_in_any_order(self, tmp_path):
        first, second = smooth_field(oblique(), GRID, seed=1), smooth_field(oblique((1, 1, 1)), GRID, seed=2)
        euler = SimpleITK.Euler3DTransform((5.0, 6.0, 7.0), 0.1, -0.2, 0.05, (1.0, 2.0, 3.0))
        parts = []
        for n, field in enumerate((first, second)):
            path = write_transform(Transform(field=field), tmp_path / f"{n}.nii")
            parts.append(field_transform(path))
        composite = SimpleITK.CompositeTransform([parts[1], euler, parts[0]])
        SimpleITK.WriteTransform(composite, str(tmp_path / "a.h5"))
        read = read_transform(tmp_path / "a.h5")
        x = positions(oblique(), GRID)[3:-3:3, 3:-3:3, 3:-3:2].reshape(-1, 3)
        there = second.affine.inverse().apply(Transform(read.matrix).push_points(first.push_points(x)))
        x = x[((there > 0) & (there < np.array(GRID) - 1)).all(axis=1)]
        assert len(x) > 5
        expected = [composite.TransformPoint(p) for p in (x * (-1, -1, 1)).tolist()]
        np.testing.assert_allclose(read.push_points(x), np.array(expected) * (-1, -1, 1), atol=1e-3)

    @pytest.mark.parametrize("ending", [".txt", ".tfm"])
    def test_text_of_itk_with_a_centre(self, tmp_path, ending):
        transform = SimpleITK.Similarity3DTransform(1.2, (0.0, 0.6, 0.0, 0.8), (4.0, 5.0, 6.0), (10.0, -20.0, 30.0))
        SimpleITK.WriteTransform(transform, str(tmp_path / f"a{ending}"))
        read = read_transform(tmp_path / f"a{ending}")
        np.testing.assert_allclose(
            read.push_points([1, 2, 3]), np.array(transform.TransformPoint((-1.0, -2.0, 3.0))) * (-1, -1, 1), atol=1e-9
        )

    def test_fields_whose_vectors_are_ras(self, tmp_path):
        image = nib.Nifti1Image(np.broadcast_to(np.float32([1, 2, 3]), (4, 4, 4, 1, 3)), np.eye(4))
        image.header.set_intent(1006)
        nib.save(image, tmp_path / "a.nii")
        assert read_transform(tmp_path / "a.nii").field.array[0, 0, 0].tolist() == [1, 2, 3]

    @pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4, 4, 3), (4, 4, 4, 1, 2)])
    def test_other_niftis_are_refused(self, tmp_path, shape):
        nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / "a.nii")
        with pytest.raises(FormatError, match="intent 'vector'"):
            read_transform(tmp_path / "a.nii")

    def test_transforms_of_niftyreg_are_refused(self, tmp_path):
        image = nib.Nifti1Image(np.zeros((4, 4, 4, 1, 3), np.float32), np.eye(4))
        image.header.set_intent(1007, (), "NREG_TRANS")
        nib.save(image, tmp_path / "a.nii")
        with pytest.raises(FormatError, match="NiftyReg"):
            read_transform(tmp_path / "a.nii")

    def test_splines_and_two_dimensions_are_refused(self, tmp_path):
        for transform, words in (
            (SimpleITK.BSplineTransform(3), "BSplineTransform"),
            (SimpleITK.AffineTransform(2), "has 2"),
        ):
            SimpleITK.WriteTransform(transform, str(tmp_path / "a.tfm"))
            with pytest.raises(FormatError, match=words):
                read_transform(tmp_path / "a.tfm")


class TestBrokenFiles:
    @pytest.mark.parametrize("ending", [".h5", ".nii.gz", ".nii", ".npz", ".mat", ".tfm", ".txt"])
    @pytest.mark.parametrize("damage", ["empty", "half", "noise", "a fifth"])
    def test_are_refused_in_one_sentence(self, tmp_path, ending, damage):
        affine_only = ending in (".mat", ".tfm", ".txt")
        transform = Transform(linear_map(), None if affine_only else smooth_field(oblique(), (6, 5, 4)))
        path = write_transform(transform, tmp_path / f"a{ending}")
        whole = path.read_bytes()
        noise = np.random.default_rng(0).integers(0, 255, 500, np.uint8).tobytes()
        path.write_bytes(
            {"empty": b"", "half": whole[: len(whole) // 2], "noise": noise}.get(damage, whole[: len(whole) // 5])
        )
        with pytest.raises(FormatError) as caught:
            read_transform(path, oblique(), (6, 5, 4))
        assert path.name in str(caught.value)

    def test_archives_of_something_else(self, tmp_path):
        np.savez(tmp_path / "a.npz", other=np.zeros(3))
        with pytest.raises(FormatError, match="one array named arr_0"):
            read_transform(tmp_path / "a.npz", oblique(), GRID)
        np.savez(tmp_path / "a.npz", np.zeros((2, 3, 4)))
        with pytest.raises(FormatError, match=r"shape \(3, I, J, K\)"):
            read_transform(tmp_path / "a.npz", oblique(), GRID)

    def test_fields_that_are_not_finite(self, tmp_path):
        array = np.full((3, *GRID), np.nan, np.float32)
        np.savez(tmp_path / "a.npz", array)
        with pytest.raises(InputError, match="finite"):
            read_transform(tmp_path / "a.npz", oblique(), GRID)

    def test_names(self, tmp_path):
        with pytest.raises(InputError, match="no file"):
            read_transform(tmp_path / "missing.h5")
        (tmp_path / "a.xyz").touch()
        with pytest.raises(FormatError, match=r"got a\.xyz"):
            read_transform(tmp_path / "a.xyz")


class TestWriting:
    @pytest.mark.parametrize("ending", [".mat", ".tfm", ".txt"])
    def test_affine_files_hold_no_deformation(self, tmp_path, ending):
        with pytest.raises(FormatError, match="save it as"):
            write_transform(Transform(field=smooth_field(oblique(), GRID)), tmp_path / f"a{ending}")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("ending", [".h5", ".nii.gz"])
    def test_sheared_grids_are_refused(self, tmp_path, ending):
        sheared = np.eye(4)
        sheared[0, 1] = 0.3
        transform = Transform(field=DisplacementField.zeros(Affine(sheared), GRID))
        with pytest.raises(GeometryError, match="sheared"):
            write_transform(transform, tmp_path / f"a{ending}")

    @pytest.mark.parametrize("ending", [".h5", ".nii.gz", ".npz"])
    def test_leaves_nothing_behind_and_keeps_the_old_file_when_it_fails(self, tmp_path, ending):
        path = write_transform(Transform(field=shift_along(0)), tmp_path / f"a{ending}")
        before = path.read_bytes()
        write_transform(Transform(field=shift_along(0)), path)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        assert ending == ".h5" or path.read_bytes() == before
        with pytest.raises(ResourceError, match="does not exist"):
            write_transform(Transform(field=shift_along(0)), tmp_path / "nowhere" / f"a{ending}")
