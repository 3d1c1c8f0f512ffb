"""The user's cache."""

import os
from pathlib import Path


def user_cache() -> Path:
    """The program's folder in the user's cache; it need not exist."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    if not cache.is_absolute():  # by the XDG specification a relative path counts as unset
        cache = Path("~/.cache").expanduser()
    return cache / "faal"
