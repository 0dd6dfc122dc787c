"""Shared fixtures: the folder of real data sets, found by `NETWRIGHT_DATA` or beside the checkout."""

import os
from pathlib import Path

import pytest

from netwright.data.telling import hush
from netwright.language import speak

DATA = Path(os.environ.get("NETWRIGHT_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_collection_modifyitems(items):
    if DATA.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.skip(reason=f"the real data sets are not here: {DATA}"))


os.environ["NETWRIGHT_LANG"] = "en"  # what tests quote is English, whatever the machine speaks


@pytest.fixture(autouse=True)
def english():
    """A test that chose a language, by `--lang` or `speak`, leaves none behind."""
    speak(None)
    yield
    speak(None)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """No test reads or writes the user's cache; a test of the cache itself names another folder."""
    patch = pytest.MonkeyPatch()
    patch.setenv("NETWRIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.delenv("NETWRIGHT_CACHE_GB", raising=False)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def talkative():
    """A test that hushed the reading of data leaves it able to speak."""
    hush(False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return DATA
