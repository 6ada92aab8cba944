"""Where embeddings live beside files: databases that search by vector. A new one is one module and one line here."""

from collections.abc import Callable

from gnnrec.targets.lance import open_lancedb
from gnnrec.targets.postgresql import open_postgresql
from gnnrec.targets.qdrant import open_qdrant
from gnnrec.targets.table import Table, Target

TARGETS: dict[str, Callable[[str, str], Target]] = {  # by what stands before the first colon of an address
    "lancedb": open_lancedb,
    "qdrant": open_qdrant,
    "postgresql": open_postgresql,
    "postgres": open_postgresql,
}


def open_target(address: str, name: str) -> Target:
    """The target at an address, whose tables are called NAME_users and NAME_items. Raises UserError."""
    return TARGETS[address.partition(":")[0]](address, name)


__all__ = ["TARGETS", "Table", "Target", "open_target"]
