"""One progress bar for the whole product: shown on a terminal only, and only for work over two seconds."""

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(iterable: Iterable[Any] | None = None, *, total: int | None = None, text: str, unit: str = "it") -> Any:
    """A tqdm bar with the time left. `disable=None` keeps it silent where stderr is not a terminal."""
    return tqdm(iterable, total=total, desc=text, unit=unit, delay=2, disable=None, leave=False, dynamic_ncols=True)
