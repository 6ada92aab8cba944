"""One reader of what strangers may have written, as a function of bytes."""

from collections.abc import Callable
from dataclasses import dataclass

from gnnrec.encoders.media import Unreadable
from gnnrec.errors import UserError

REFUSED = (UserError, Unreadable)  # what a reader may say of bytes that it cannot use


@dataclass(frozen=True)
class Target:
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]

    def __call__(self, data: bytes) -> bool:
        """Whether the bytes are taken; False where they are refused as they should be. Raises what is a find."""
        try:
            self.read(data)
        except REFUSED as error:
            assert "\n" not in str(error), "an error is one line"
            return False
        return True
