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
from gnnrec.weights.places import Blocks, Place
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
    """How a model's class has to draw its tables, as its last argument; nothing where it draws as it does.

    out: the run's folder, if there is one. Raises UserError where nothing may be mapped there.
    """
    if tables == "whole" or not issubclass(model, EmbeddingModel) or not model.movable_tables:
        return ()
    if tables == "sharded":
        return (DrawBlock(world()),)
    _check_mapped(out)
    return (draw_into_file(out),)


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
    if (device := next(model.parameters()).device).type != "cpu":
        raise UserError(f"train.tables: found {tables!r}; allowed: whole, since training is on {device.type}")
    folder = None if checkpoint is None else checkpoint.parent / TABLES_FOLDER
    place: Place = Blocks(world(), folder)
    if tables == "mapped":
        _check_mapped(None if checkpoint is None else checkpoint.parent)
        place = Files(folder, fresh=checkpoint is None or not checkpoint.exists())
    return TableWeights(model, graph, decay, adam, place)


def _check_mapped(out: Path | None) -> None:
    found = "train.tables: found 'mapped'; allowed"
    if (size := world().size) > 1:
        raise UserError(f"{found} with --nproc {size}: whole, sharded")
    if out is not None and is_encrypted(out):
        raise UserError(f"{found} in an encrypted run: whole, sharded, since mapped files are plain")
