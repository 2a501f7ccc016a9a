"""Tables of landmarks."""

import numpy as np
import pytest

from voxelsmith.core.errors import FormatError, InputError
from voxelsmith.io.points import read_points


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n4,5,6.5\n",
        "x,y,z\n1,2,3\n4,5,6.5\n",
        "\ufeffname, Z ,X,Y\nnose,3,1,2\n\nchin,6.5,4,5\n",
        "# RAS\nr,a,s,label\n1,2,3,nose\n4,5,6.5,chin\n",
    ],
)
def test_three_columns_by_name_or_place(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    assert np.array_equal(read_points(path), [[1, 2, 3], [4, 5, 6.5]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "three numbers a row"),
        ("x,y,z\n", "three numbers a row"),
        ("1,2\n3,4\n", "three numbers a row"),
        ("1,2,3\n4,five,6\n", "three numbers a row"),
        ("1,2,nan\n", "three numbers a row"),
        ("# CoordinateSystem = LPS\n1,2,3\n", "in LPS"),
    ],
)
def test_anything_else_is_told(tmp_path, text, said):
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=said):
        read_points(path)


def test_files_that_are_missing_or_no_text(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_points(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(FormatError, match="save it as CSV"):
        read_points(tmp_path / "image.csv")
