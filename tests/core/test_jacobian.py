"""The Jacobian determinant and what tables quote of it, against SimpleITK, NumPy and the Learn2Reg challenge."""

import json
from pathlib import Path

import numpy as np
import pytest

from voxelsmith.core.errors import GeometryError
from voxelsmith.core.jacobian import folding_share, inside, jacobian_determinant, sdlogj, sdlogj_learn2reg

GOLDEN = Path(__file__).parents[1] / "golden" / "hvit"
NUMBERS = json.loads((GOLDEN / "metrics.json").read_text())
FIELDS = ("mild", "fold", "affine")


def field(name):
    """The displacement of the golden data, shape (3, 40, 44, 36), in voxels."""
    z, y, x = np.indices((40, 44, 36)).astype(float)
    if name == "affine":
        return np.stack([0.1 * (z - 20) + 0.02 * (y - 22), -0.05 * (y - 22), 0.03 * (x - 18) - 0.04 * (z - 20)])
    a, turn = {"mild": 1.5, "fold": 6}[name], 2 * np.pi
    u = a * np.sin(turn * y / 44) * np.cos(turn * x / 36)
    v = 0.8 * a * np.sin(turn * (z + 0.5 * x) / 40)
    w = 0.6 * a * np.cos(turn * z / 20) * np.sin(turn * y / 22)
    return np.stack([u, v, w])


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    ("border", "reference"), [(0, "npgradient_full"), (2, "npgradient_interior2"), (2, "sitk_interior2")]
)
def test_statistics_are_those_of_numpy_and_simpleitk(name, border, reference):
    expected = NUMBERS[name][reference]
    determinant = inside(jacobian_determinant(field(name)), border)
    assert determinant.size == expected["n"]
    for statistic in ("mean", "std", "min", "max"):
        assert getattr(determinant, statistic)() == pytest.approx(expected[statistic], abs=1e-12), statistic
    assert 100 * folding_share(determinant) == pytest.approx(expected["pct_nonpositive"])
    assert sdlogj(determinant) == pytest.approx(expected["sdlogj_clip1e9"], abs=1e-12)
    assert sdlogj_learn2reg(determinant) == pytest.approx(expected["sdlogj_l2r_plus3"], abs=1e-12)


@pytest.mark.parametrize("name", ["mild", "fold"])
def test_determinants_are_those_of_numpy_voxel_by_voxel(name):
    expected = np.load(GOLDEN / "metrics_40x44x36.npz")[f"jac_{name}_npgradient"]
    np.testing.assert_allclose(jacobian_determinant(field(name)), expected, atol=1e-6)
    single = jacobian_determinant(field(name).astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=1e-4)


@pytest.mark.parametrize("name", FIELDS)
def test_the_challenge_gets_our_learn2reg_number(name):
    determinant = inside(jacobian_determinant(field(name)))
    assert sdlogj_learn2reg(determinant) == pytest.approx(NUMBERS[name]["l2r_official_function_sdlogj"], abs=1e-12)


def test_adding_three_makes_a_field_look_smoother_than_it_is():
    for name, shrinks in (("mild", 4), ("fold", 14)):
        determinant = inside(jacobian_determinant(field(name)))
        assert sdlogj(determinant) / sdlogj_learn2reg(determinant) == pytest.approx(shrinks, abs=0.1)


def test_folds_are_counted_before_anything_is_clipped():
    """The challenge counts them afterwards and so never finds any."""
    assert NUMBERS["fold"]["l2r_official_num_foldings_after_clip"] == 0
    determinant = jacobian_determinant(field("fold"))
    assert folding_share(determinant) * determinant.size == pytest.approx(237)
    assert folding_share(np.array([[[0.0, 1e-12, -1.0, 2.0]]])) == 0.5


def test_an_affine_map_has_one_determinant_up_to_the_border():
    np.testing.assert_allclose(jacobian_determinant(field("affine")), 1.07635, atol=1e-12)


def test_axes_of_one_voxel_keep_their_size():
    u = np.zeros((3, 5, 1, 4))
    u[0] = 0.5 * np.arange(5)[:, None, None]
    np.testing.assert_allclose(jacobian_determinant(u), 1.5)


@pytest.mark.parametrize("shape", [(2, 4, 4, 4), (4, 4, 3), (4, 4, 4, 3)])
def test_a_displacement_has_its_vectors_first(shape):
    with pytest.raises(GeometryError, match=r"\(3, I, J, K\)"):
        jacobian_determinant(np.zeros(shape))
