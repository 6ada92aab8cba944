"""The auxiliary alignment of modality_gnn: nothing at 0, and what it is for above."""

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions, planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, GraphConfig, build_graph, owners
from gnnrec.losses import info_nce
from gnnrec.models.base import EmbeddingModel
from gnnrec.models.modality_gnn import ALIGNED_ITEMS, ModalityGNN, ModalityGNNConfig
from gnnrec.training import TrainConfig, fit


class Unaligned(ModalityGNN):
    """The model as it was before it had an auxiliary loss."""

    auxiliary_loss = EmbeddingModel.auxiliary_loss


def made() -> tuple[HeteroData, Interactions]:
    """Two modalities; every fifth picture is missing and filled in."""
    dataset = planted("text", num_users=60, num_items=60)
    features = {name: dataset.item_features[name].copy() for name in ("text", "image")}
    features["image"][::5] = float("nan")
    parts = split(dataset)
    return build_graph(parts.train, {name: from_array(rows) for name, rows in features.items()}), parts.val


def trained(kind: type[ModalityGNN] = ModalityGNN, **settings: float) -> tuple[ModalityGNN, HeteroData]:
    graph, val = made()
    model = kind(ModalityGNNConfig(dim=16, **settings), graph, Generator().manual_seed(0))
    fit(model, graph, val, TrainConfig(epochs=6, batch_size=128))
    return model, graph


@torch.no_grad()
def likeness(model: ModalityGNN, graph: HeteroData) -> tuple[float, float]:
    """Mean cosine of text and picture of one item, less that of different items; and of content with the item."""
    items = torch.arange(graph["item"].num_nodes)
    (image, has_image), (text, has_text) = model._content_views(graph, items)
    both = has_image & has_text
    cosine = F.normalize(image[both]) @ F.normalize(text[both]).T
    item = F.normalize(model.training_pass(graph, Generator()).item[:, : model.config.dim])
    fused = F.normalize(image * has_image[:, None] + text) @ item.T
    return tuple(float(found.diag().mean() - found.mean()) for found in (cosine, fused))  # type: ignore[return-value]


def test_at_zero_the_training_is_the_same_to_the_bit() -> None:
    (plain, _), (zero, _) = trained(Unaligned), trained(align=0.0, align_temperature=0.5)
    assert all(torch.equal(value, zero.state_dict()[name]) for name, value in plain.state_dict().items())


def test_above_zero_what_is_aligned_grows_alike() -> None:
    (zero, graph), (modalities, _), (item, _) = trained(), trained(align=2.0), trained(align_item=2.0)
    before = likeness(zero, graph)
    assert likeness(modalities, graph)[0] > before[0] + 0.05
    assert likeness(item, graph)[1] > before[1] + 0.02


def test_the_loss_is_that_of_the_items_of_the_batch_whose_content_is_there() -> None:
    graph, _ = made()
    model = ModalityGNN(
        ModalityGNNConfig(dim=8, align=0.5, align_item=2.0, align_temperature=0.3), graph, Generator().manual_seed(0)
    )
    embeddings, batch = model.training_pass(graph, Generator()), torch.arange(40)
    items = torch.unique(graph[INTERACTS].edge_index[1, batch])

    def rows(modality: str) -> tuple[Tensor, Tensor]:
        found = {int(item): node for node, item in enumerate(owners(graph, modality))}
        real = [int(item) in found and not bool(graph[modality].imputed[found[int(item)]]) for item in items]
        x = torch.stack([graph[modality].x[found.get(int(item), 0)] for item in items])
        return model.project[modality](x), torch.tensor(real)

    (image, has), (text, _) = rows("image"), rows("text")
    assert 0 < has.sum() < len(items)

    def both_ways(first: Tensor, second: Tensor) -> Tensor:
        return (info_nce(first, second, 0.3) + info_nce(second, first, 0.3)) / 2

    content = image * has[:, None] + text
    expected = 0.5 * both_ways(image[has], text[has]) + 2 * both_ways(content, embeddings.item[items, :8].detach())
    found = model.auxiliary_loss(graph, embeddings, batch)
    assert found is not None and float(found) == pytest.approx(float(expected), rel=1e-5)
    many = (
        torch.arange(ALIGNED_ITEMS).repeat(2) % graph[INTERACTS].num_edges
    )  # what is beyond the first is not looked at
    assert (
        float(model.auxiliary_loss(graph, embeddings, many))
        == float(  # type: ignore[arg-type]
            model.auxiliary_loss(graph, embeddings, many[:ALIGNED_ITEMS])  # type: ignore[arg-type]
        )
    )


def test_without_content_there_is_nothing_to_align() -> None:
    log = split(planted("text", num_users=60, num_items=60)).train
    graph = build_graph(log, {}, config=GraphConfig(neighbors=0))
    model = ModalityGNN(ModalityGNNConfig(dim=8, align=1.0, align_item=1.0), graph, Generator().manual_seed(0))
    assert model.auxiliary_loss(graph, model.training_pass(graph, Generator()), torch.arange(10)) is None


def test_what_is_not_allowed_is_said() -> None:
    with pytest.raises(UserError, match=r"model\.align: found -0.1; allowed: 0"):
        ModalityGNNConfig(align=-0.1)
    with pytest.raises(UserError, match=r"model\.align_temperature: found 0; allowed: above 0"):
        ModalityGNNConfig(align_temperature=0)
