"""Where the tables of free embeddings of a training lie: `train.tables`."""

from pathlib import Path
from typing import Any

from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.models import EmbeddingModel
from gnnrec.models.base import Draw
from gnnrec.vault import is_encrypted
from gnnrec.weights.average import Decay
from gnnrec.weights.mapped import Files, draw_into_file
from gnnrec.weights.places import Blocks
from gnnrec.weights.shards import DrawBlock
from gnnrec.weights.tables import TableWeights
from gnnrec.weights.whole import Weights
from gnnrec.workers import world

TABLES = ("whole", "sharded", "mapped")
TABLES_FOLDER = "checkpoint-tables"  # beside the checkpoint


def check_tables(tables: str, sampling: str) -> None:
    """Of settings alone. Raises UserError."""
    if tables not in TABLES:
        raise UserError(f"train.tables: found {tables!r}; allowed: {', '.join(TABLES)}")
    if tables != "whole" and sampling == "whole":
        raise UserError(
            f"train.tables: found {tables!r}; allowed: whole, since steps with train.sampling=whole look at all rows"
        )


def draw_for(tables: str, model: Any, out: Path | None) -> tuple[Draw, ...]:
    """How a model's class has to draw its tables, as its last argument; empty for as it does."""
    if tables == "whole" or not issubclass(model, EmbeddingModel) or not model.movable_tables:
        return ()
    return (DrawBlock(world()),) if tables == "sharded" else (draw_into_file(out),)


def weights_of(
    model: EmbeddingModel,
    graph: HeteroData,
    tables: str,
    decay: Decay,
    adam: dict[str, Any],
    checkpoint: Path | None,
) -> Weights:
    """adam: settings of the optimizer. Raises UserError where the model or the run cannot have its tables so."""
    if tables == "whole":
        return Weights(model, decay)
    if not model.movable_tables:
        name = type(model).__name__
        raise UserError(f"train.tables: found {tables!r}; allowed: whole, since {name} has no embeddings of ids")
    folder, workers = None if checkpoint is None else checkpoint.parent / TABLES_FOLDER, world()
    if tables == "sharded":
        return TableWeights(model, graph, decay, adam, Blocks(workers, folder))
    if workers.size > 1:
        raise UserError(f"train.tables: found 'mapped'; allowed with --nproc {workers.size}: whole, sharded")
    if checkpoint is not None and is_encrypted(checkpoint.parent):
        raise UserError(
            "train.tables: found 'mapped'; allowed in an encrypted run: whole, sharded, since mapped files are plain"
        )
    return TableWeights(model, graph, decay, adam, Files(folder, fresh=checkpoint is None or not checkpoint.exists()))
