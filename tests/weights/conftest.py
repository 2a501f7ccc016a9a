"""A zoo of one network for every test."""

import pytest

from toy_zoo import build_zoo


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    return build_zoo(tmp_path, monkeypatch)
