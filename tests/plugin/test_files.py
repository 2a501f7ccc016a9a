"""Files open and are saved through npe2 as napari does it, on exactly their own grid."""

import nibabel as nib
import npe2
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from orientations import ORIENTATIONS, oriented

from voxelsmith import io
from voxelsmith.core.errors import FormatError, GeometryError
from voxelsmith.io import READ_PATTERNS, WRITE_SUFFIXES
from voxelsmith.io.samples import SAMPLES
from voxelsmith.plugin import samples
from voxelsmith.plugin.layers import NAMESPACE
from voxelsmith.plugin.readers import get_reader

NAME = "napari-voxelsmith"


@pytest.fixture(autouse=True)
def plugin(npe2pm):
    with npe2pm.tmp_plugin(package=NAME) as manifest:
        yield manifest.manifest


def nifti(path, affine=None, array=None, q_code=1, s_code=2):
    if array is None:
        array = np.random.default_rng(3).integers(-500, 500, (5, 6, 7)).astype(np.int16)
    image = nib.Nifti1Image(array, None)
    matrix = (affine or oriented()).matrix
    image.set_qform(matrix, code=q_code, strip_shears=True)
    image.set_sform(matrix, code=s_code)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def open_layer(path):
    (layer_data,) = npe2.read([str(path)], stack=False, plugin_name=NAME)
    return Layer.create(*layer_data)


def save(layer, path):
    assert npe2.write(str(path), [layer], plugin_name=NAME) == [str(path)]
    return nib.load(path)


def assert_same_space(a, b):
    assert a.shape == b.shape
    for form in ("sform", "qform"):
        assert a.header[f"{form}_code"] == b.header[f"{form}_code"]
        (m, _), (n, _) = (getattr(image, f"get_{form}")(coded=True) for image in (a, b))
        assert np.array_equal(m, n)
    assert np.array_equal(a.header["pixdim"], b.header["pixdim"])
    assert np.array_equal(a.affine, b.affine)


@pytest.mark.parametrize("tilt", [0, 14], ids=["straight", "oblique"])
@pytest.mark.parametrize(("permutation", "signs"), ORIENTATIONS)
def test_image_and_new_labels_keep_the_space_of_the_file(tmp_path, permutation, signs, tilt):
    path = nifti(tmp_path / "scan.nii", oriented(permutation, signs, tilt))
    source = nib.load(path)
    layer = open_layer(path)

    saved = save(layer, tmp_path / "again.nii.gz")
    assert_same_space(saved, source)
    assert saved.get_data_dtype() == source.get_data_dtype()
    assert np.array_equal(saved.dataobj, source.dataobj)

    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer._new_labels()
    labels = viewer.layers[-1]
    assert not labels.metadata
    labels.data[1, 2, 3] = 5
    mask = save(labels, tmp_path / "mask.nii.gz")
    assert mask.shape == source.shape
    assert np.array_equal(mask.affine, source.affine)
    stored = np.array(["ijk".index(axis) for axis in labels.axis_labels])
    index = np.empty(3, int)
    index[stored] = (1, 2, 3)
    assert np.asarray(mask.dataobj)[tuple(index)] == 5
    assert np.count_nonzero(mask.dataobj) == 1


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("tilt", [0, 14])
def test_labels_are_saved_for_itk(tmp_path, suffix, tilt):
    layer = open_layer(nifti(tmp_path / "scan.nii", oriented((2, 0, 1), (-1, 1, -1), tilt)))
    target = tmp_path / f"mask{suffix}"
    npe2.write(str(target), [layer], plugin_name=NAME)
    back = io.read(target)
    original = io.read(tmp_path / "scan.nii")
    assert np.array_equal(back.array, original.array)
    assert back.affine.allclose(original.affine)


def test_labels_open_as_labels(tmp_path):
    array = np.zeros((9, 9, 9), np.uint8)
    array[2:6, 2:6, 2:6] = 1
    assert open_layer(nifti(tmp_path / "case_seg.nii.gz", array=array))._type_string == "labels"
    assert open_layer(nifti(tmp_path / "case.nii.gz"))._type_string == "image"


def test_several_files_give_several_layers(tmp_path):
    paths = [str(nifti(tmp_path / f"{n}.nii")) for n in "ab"]
    layers = npe2.read(paths, stack=True, plugin_name=NAME)
    assert [kwargs["name"] for _, kwargs, _ in layers] == ["a", "b"]


def test_the_path_travels_with_the_layer(tmp_path):
    path = nifti(tmp_path / "scan.nii")
    assert open_layer(path).metadata[NAMESPACE]["path"] == str(path)


def test_saving_without_an_ending_gives_nifti(tmp_path):
    layer = open_layer(nifti(tmp_path / "scan.nii"))
    assert npe2.write(str(tmp_path / "out"), [layer], plugin_name=NAME) == [str(tmp_path / "out.nii.gz")]


class TestWhoseFile:
    @pytest.mark.parametrize("name", ["notes.txt", "photo.png", "table.csv", "missing.xyz"])
    def test_others_are_refused(self, tmp_path, name):
        (tmp_path / name).write_bytes(b"hello")
        assert get_reader(str(tmp_path / name)) is None

    def test_a_folder_of_other_things_is_refused(self, tmp_path):
        (tmp_path / "notes.txt").write_text("hello")
        assert get_reader(str(tmp_path)) is None

    def test_one_stranger_among_several_is_refused(self, tmp_path):
        assert get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.txt")]) is None

    def test_dicom_without_an_ending_is_ours(self, tmp_path):
        (tmp_path / "IM000123").write_bytes(bytes(128) + b"DICM")
        assert get_reader(str(tmp_path / "IM000123")) is not None
        assert get_reader(str(tmp_path)) is not None

    @pytest.mark.parametrize("name", ["IM000123", "CT.1.3.12.2.1107", "scan.NII.GZ", "x.dcm"])
    def test_npe2_asks_us(self, npe2pm, name):
        assert NAME in {reader.plugin_name for reader in npe2pm.iter_compatible_readers([name])}

    @pytest.mark.parametrize("name", ["film.mp4", "data.h5", "photo.jp2", "notes.txt"])
    def test_npe2_does_not_bother_us(self, npe2pm, name):
        assert not list(npe2pm.iter_compatible_readers([name]))


def test_a_damaged_file_gives_a_sentence(tmp_path):
    (tmp_path / "bad.nii").write_bytes(b"not a header")
    with pytest.raises(FormatError, match=r"bad\.nii"):
        npe2.read([str(tmp_path / "bad.nii")], stack=False, plugin_name=NAME)


def test_a_sheared_layer_is_not_squeezed_into_nrrd(tmp_path):
    layer = open_layer(nifti(tmp_path / "scan.nii"))
    layer.shear = (0, 0, 0.3)
    with pytest.raises(GeometryError):
        npe2.write(str(tmp_path / "out.nrrd"), [layer], plugin_name=NAME)
    assert not (tmp_path / "out.nrrd").exists()


class TestManifest:
    def test_it_lists_what_the_registry_reads_and_writes(self, plugin):
        (reader,) = plugin.contributions.readers
        assert set(READ_PATTERNS) <= set(reader.filename_patterns)
        for writer in plugin.contributions.writers:
            assert set(writer.filename_extensions) == set(WRITE_SUFFIXES)

    def test_every_command_exists(self, plugin):
        for command in plugin.contributions.commands:
            assert callable(npe2.PluginManager.instance().commands.get(command.id))

    def test_every_sample_opens(self, plugin):
        shown = 0
        for sample in plugin.contributions.sample_data:
            layers = npe2.PluginManager.instance().commands.execute(sample.command)
            shown += len(layers)
            for data, kwargs, kind in layers:
                Layer.create(data, kwargs, kind)
        assert shown == len(SAMPLES)

    def test_labels_of_samples_lie_on_their_image(self):
        (_, image, _), (_, labels, kind) = samples.chest_ct()
        assert kind == "labels"
        assert np.array_equal(image["affine"], labels["affine"])
        assert np.array_equal(image["scale"], labels["scale"])
