"""The recipes that the Train dock offers: the experimental one is chosen as a preset, and its runs are read again."""

import pytest

from voxelsmith.core.errors import InputError
from voxelsmith.plugin.docks.train import runs
from voxelsmith.plugin.docks.train.settings_part import SettingsPart
from voxelsmith.train.diffusion_settings import DiffusionSettings
from voxelsmith.train.diffusion_settings import settings as diffusion
from voxelsmith.train.tvunet import settings


@pytest.fixture
def part(qtbot):
    part = SettingsPart()
    qtbot.addWidget(part)
    part.preset.setCurrentIndex(part.preset.findText("Diffusion, experimental"))
    part.preset.activated.emit(part.preset.currentIndex())
    return part


def test_the_diffusion_recipe_is_a_preset(part):
    assert part.settings == diffusion()
    part.main.widgets["width"].activated.emit(2)
    assert part.settings == diffusion(width=32)
    assert part.main.widgets["variation"].value() == 0


def test_blocks_are_refused_with_a_sentence(part):
    part.main.widgets["dims"].activated.emit(2)
    with pytest.raises(InputError, match="choose 2d"):
        _ = part.settings


@pytest.mark.parametrize("chosen", [settings(steps=7), diffusion(steps=7, samples=3)], ids=lambda s: s.recipe)
def test_a_run_is_resumed_by_the_recipe_that_began_it(tmp_path, chosen):
    runs.write_record(tmp_path, chosen, {"classes": [1]})
    assert runs.read_run(tmp_path).settings == chosen
    assert isinstance(runs.read_run(tmp_path).settings, DiffusionSettings) == (chosen.recipe == "diffusion")
