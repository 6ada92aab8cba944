"""A training step that sees a piece of the graph: which models can, and what theirs is.

Letters: B interactions of a step, N items that stand against theirs.
"""

from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, TOGETHER
from gnnrec.models import EmbeddingModel
from gnnrec.subgraph import Sampler

SAMPLINGS = ("whole", "neighbours", "temporal")


def check_sampling(sampling: str, fanout: int | str) -> None:
    """Of settings alone. Raises UserError."""
    if sampling not in SAMPLINGS:
        raise UserError(f"train.sampling: found {sampling!r}; allowed: {', '.join(SAMPLINGS)}")
    if not all(part.strip().isdigit() for part in str(fanout).split(",")):
        raise UserError(f'train.fanout: found {fanout!r}; allowed: 0 or more, or such numbers as in "15,10"')


def fanouts(fanout: int | str, hops: int) -> tuple[int, ...]:
    """Sampled neighbours at each hop of a model. Raises UserError where they are given for another number of hops."""
    found = tuple(int(part) for part in str(fanout).split(","))
    if len(found) == 1:
        return found * hops
    if len(found) != hops:
        raise UserError(f"train.fanout: found {fanout!r}; allowed: one number, or {hops} (the model's hops)")
    return found


def sampler_for(model: EmbeddingModel, graph: HeteroData, sampling: str, fanout: int | str) -> Sampler | None:
    """What draws the pieces that a step sees; None where it sees the whole graph. Raises UserError."""
    if sampling == "whole":
        return None
    if model.hops is None:
        name = type(model).__name__
        raise UserError(f"train.sampling: found {sampling!r}; allowed: whole, since {name} sees all edges at once")
    if sampling == "temporal":
        if "time" not in graph[INTERACTS]:
            raise UserError("train.sampling: found 'temporal'; allowed: data with timestamps, split in their order")
        if TOGETHER in graph.edge_types:
            raise UserError("graph.together: counts the whole log; allowed with train.sampling=temporal: 0")
    return model.sampler(graph, fanouts(fanout, model.hops))
