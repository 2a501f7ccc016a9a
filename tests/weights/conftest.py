"""A zoo of one network that ships, and of one that can be fetched."""

import pytest

from file_server import serving
from toy_catalogue import build_catalogue
from toy_zoo import build_zoo


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    return build_zoo(tmp_path, monkeypatch)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def giant(tmp_path, monkeypatch, zoo, server):
    return build_catalogue(tmp_path, monkeypatch, server)
