"""The network behind the promptable engine: how torch is loaded for it, and where it computes."""

import gc
import subprocess
import sys

import pytest

from voxelsmith.core.errors import InputError, ModelUnavailableError
from voxelsmith.segment.engine import engine_names, make_engine
from voxelsmith.segment.network import device_type, import_torch


def test_the_default_engine_is_the_network_and_others_are_made_by_name():
    assert make_engine().name == engine_names()[0] == "promptable"
    assert make_engine("training-free").name == "training-free"
    with pytest.raises(InputError, match="no prompt engine 'magic'; choose one of promptable, training-free"):
        make_engine("magic")


def test_the_collection_of_garbage_goes_on_after_the_import_of_torch():
    script = (
        "import gc, weakref\n"
        "from voxelsmith.segment.network import import_torch\n"
        "class Ring: pass\n"
        "before = Ring(); before.me = before; gone = weakref.ref(before)\n"
        "runs = []; gc.callbacks.append(lambda phase, info: runs.append(phase))\n"
        "import_torch()\n"
        "print(runs, gc.isenabled(), gc.get_freeze_count())\n"
        "del before; gc.collect(); print(gone())\n"
        "gc.disable(); import_torch(); print(gc.isenabled())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["[] True 0", "None", "False"]


def test_without_torch_the_user_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelUnavailableError, match="reinstall torch, or choose the engine training-free"):
        import_torch()
    assert gc.isenabled()


def test_the_kind_of_device():
    assert device_type("cpu") == "cpu"
    with pytest.raises(InputError, match="offers no abacus"):
        device_type("abacus")
