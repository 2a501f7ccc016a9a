"""Results of a registration in a real napari window."""

import numpy as np
import pytest
from outcomes import finished

from voxelsmith.plugin.docks.register.results_part import ResultsPart
from voxelsmith.plugin.runner import JobRunner


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def coloured(viewer):
    """How many pixels of the canvas are not grey."""
    picture = viewer.screenshot(flash=False)[..., :3].astype(int)
    return int(np.count_nonzero(np.ptp(picture, axis=-1) > 60))


def test_vectors_and_lines_are_seen_on_each_slice_and_go(viewer, qtbot):
    runner = JobRunner(viewer)
    part = ResultsPart(viewer, runner)
    qtbot.addWidget(part)
    part.controller.show(finished(viewer))
    viewer.reset_view()
    assert coloured(viewer) == 0
    for kind in ("arrows", "grid"):
        part.boxes[kind].setChecked(True)
        for plane in (4.0, 11.0):
            viewer.dims.point = (plane, 0, 0)
            qtbot.wait(50)
            assert coloured(viewer) > 500
        viewer.dims.ndisplay = 3
        qtbot.wait(50)
        assert coloured(viewer) > 500
        viewer.dims.ndisplay = 2
        part.boxes[kind].setChecked(False)
        qtbot.wait(50)
        assert coloured(viewer) == 0
    part.controller.close()
    runner.shutdown()
