"""A tiny build for all tests here, and workers that compile with little care."""

import pytest

from ..trainer.conftest import compile_once as compile_once
from . import tiny


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """The folder of a build up to its token stores; nothing is to be written into it."""
    return tiny.write_build(tmp_path_factory.mktemp("build"))


@pytest.fixture(autouse=True)
def compile_fast(monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
