"""Where netwright keeps what it can make again: measured choices and decoded data, below one folder of the user."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder that the environment variable NETWRIGHT_CACHE names, else the user's cache folder on this system."""
    named = os.environ.get("NETWRIGHT_CACHE")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("netwright", appauthor=False)
