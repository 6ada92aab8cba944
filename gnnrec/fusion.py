"""Fusion of the modalities of each item: {modality tokens} -> one vector, and what each modality weighed in it.

Every fusion is a module `(tokens [I, M, d], mask [I, M]) -> (fused [I, d], weights [I, M])`. A masked token is missing:
it has no influence whatever it holds. Weights sum to 1 over the modalities that an item has, and an item without any
gets zeros. With one modality every attention-like fusion passes its token on as it is.

Letters: I items, M modalities, d dimensions.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

Fused = tuple[Tensor, Tensor]


def linear(inputs: int, outputs: int, generator: Generator, bias: bool = True) -> nn.Linear:
    """A linear map with Xavier weights drawn from `generator` and a zero bias."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension among the entries of the mask; zeros where there is none."""
    weights = torch.softmax(logits.masked_fill(~mask, -1e9), dim=-1)
    return weights * mask


class MeanFusion(nn.Module):
    """The plain average of what is there."""

    def __init__(self, dim: int, num_modalities: int, generator: Generator) -> None:
        super().__init__()

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        weights = mask / mask.sum(1, keepdim=True).clamp(min=1)
        return (weights[..., None] * tokens).sum(1), weights


class SingleFusion(nn.Module):
    """One modality alone tells each item: number `first` where the item has it, else the first that is there.

    Its weight is 1, that of the others 0. Nothing is learnt here.
    """

    def __init__(self, dim: int, num_modalities: int, generator: Generator, first: int = 0) -> None:
        super().__init__()
        self.first = first

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        preferred = torch.arange(mask.shape[1], device=mask.device) == self.first
        chosen = (mask.int() + (mask & preferred).int()).argmax(1)  # the first of the largest
        weights = (F.one_hot(chosen, mask.shape[1]) * mask).to(tokens.dtype)
        return (weights[..., None] * tokens).sum(1), weights


class ConcatFusion(nn.Module):
    """One linear map over the concatenated tokens, missing ones as zeros. Starts as their average.

    A weight is the length of a modality's part of the result, as a share of the lengths of all parts.
    """

    def __init__(self, dim: int, num_modalities: int, generator: Generator) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.eye(dim).repeat(num_modalities, 1, 1) / num_modalities)

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        parts = torch.einsum("imd,mde->ime", tokens * mask[..., None], self.maps)
        lengths = parts.detach().norm(dim=2)
        return parts.sum(1), lengths / lengths.sum(1, keepdim=True).clamp(min=1e-12)


class GatedAttention(nn.Module):
    """A gate per item and modality: softmax over m of v_m . tanh(W_m token_m) + b_m (Ilse et al. 2018, eq. 8, with
    weights of its own for each modality). Starts as the average, since v and b start at zero."""

    def __init__(self, dim: int, num_modalities: int, generator: Generator) -> None:
        super().__init__()
        hidden = max(dim // 4, 8)
        self.hidden = nn.Parameter(torch.empty(num_modalities, dim, hidden))
        nn.init.xavier_uniform_(self.hidden, generator=generator)
        self.vector = nn.Parameter(torch.zeros(num_modalities, hidden))
        self.bias = nn.Parameter(torch.zeros(num_modalities))

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        # Gates look at directions: a modality must not win by the length of its vectors.
        hidden = torch.tanh(torch.einsum("imd,mdh->imh", F.normalize(tokens, dim=2), self.hidden))
        weights = masked_softmax((hidden * self.vector).sum(2) + self.bias, mask)
        return (weights[..., None] * tokens).sum(1), weights


class LateFusion(nn.Module):
    """Each modality scores by itself, and the scores are added by one weight for each modality, alike for all items.

    A score is an inner product, so that sum_m w_m <user, token_m> is that of the user and the weighted sum of tokens:
    no list has to be made twice. Starts as the average.
    """

    def __init__(self, dim: int, num_modalities: int, generator: Generator) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_modalities))

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        weights = masked_softmax(self.logits.expand(mask.shape), mask)
        return (weights[..., None] * tokens).sum(1), weights


class CrossAttention(nn.Module):
    """Every modality asks the others, never itself, what they hold (co-attention, Lu et al. 2019), one head; what it
    heard decides its weight, by a learned query. As in TransformerFusion the weights pool the tokens as they came."""

    def __init__(self, dim: int, num_modalities: int, generator: Generator) -> None:
        super().__init__()
        self.kind = nn.Parameter(torch.randn(num_modalities, dim, generator=generator) / dim**0.5)
        self.ask, self.key, self.value, self.out = (linear(dim, dim, generator) for _ in range(4))
        nn.init.zeros_(self.out.weight)  # starts without what the others say
        self.query = nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        stream = F.normalize(tokens, dim=2) + self.kind  # [I, M, d]
        logits = self.ask(stream) @ self.key(stream).transpose(1, 2) / stream.shape[2] ** 0.5  # [I, M, M]
        others = mask[:, None, :] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        stream = stream + self.out(masked_softmax(logits, others) @ self.value(stream))
        weights = masked_softmax((F.normalize(stream, dim=2) * self.query).sum(2), mask)
        return (weights[..., None] * tokens).sum(1), weights


class TransformerFusion(nn.Module):
    """One pre-norm transformer layer over the modality tokens (Vaswani et al. 2017), then attention pooling by a
    learned query: what the tokens tell each other decides the weights.

    Deviation: the weights pool the tokens as they came, not as the layer leaves them. There each token holds a share
    of the others, so that a weight says little about its modality, and items without interactions were ranked worse.
    """

    def __init__(self, dim: int, num_modalities: int, generator: Generator, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads if dim % heads == 0 else 1
        self.kind = nn.Parameter(torch.randn(num_modalities, dim, generator=generator) / dim**0.5)
        self.norm_attention, self.norm_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = linear(dim, 3 * dim, generator)
        self.out = linear(dim, dim, generator)
        self.widen, self.narrow = linear(dim, 2 * dim, generator), linear(2 * dim, dim, generator)
        self.query = nn.Parameter(torch.zeros(dim))
        for layer in (self.out, self.narrow):
            nn.init.zeros_(layer.weight)  # residual branches start at nothing

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        num_items, num_tokens, dim = tokens.shape
        stream = F.normalize(tokens, dim=2) + self.kind
        heads = self.qkv(self.norm_attention(stream)).view(num_items, num_tokens, 3, self.heads, dim // self.heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [I, heads, M, d / heads]
        logits = query @ key.transpose(2, 3) / (dim // self.heads) ** 0.5
        attention = masked_softmax(logits, mask[:, None, None, :])
        stream = stream + self.out((attention @ value).transpose(1, 2).reshape(num_items, num_tokens, dim))
        stream = stream + self.narrow(F.gelu(self.widen(self.norm_feed(stream))))
        weights = masked_softmax((F.normalize(stream, dim=2) * self.query).sum(2), mask)
        return (weights[..., None] * tokens).sum(1), weights


class GraphFusion(nn.Module):
    """One round of GATv2 (Brody et al. 2022, eq. 7) from an item's modality nodes to the item node.

    Modality nodes first hear each other's mean through a gate that starts shut; the item node asks with its own mean.
    """

    def __init__(self, dim: int, num_modalities: int, generator: Generator) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(num_modalities))
        self.source, self.target = linear(dim, dim, generator), linear(dim, dim, generator)
        self.vector = nn.Parameter(torch.zeros(dim))
        self.bias = nn.Parameter(torch.zeros(num_modalities))

    def forward(self, tokens: Tensor, mask: Tensor) -> Fused:
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)
        center = (share[..., None] * tokens).sum(1, keepdim=True)  # [I, 1, d]
        tokens = tokens + torch.tanh(self.mix)[:, None] * (center - tokens)
        hidden = F.leaky_relu(self.source(F.normalize(tokens, dim=2)) + self.target(F.normalize(center, dim=2)), 0.2)
        weights = masked_softmax((hidden * self.vector).sum(2) + self.bias, mask)
        return (weights[..., None] * tokens).sum(1), weights


FUSIONS: dict[str, type[nn.Module]] = {
    "mean": MeanFusion,
    "single": SingleFusion,
    "concat": ConcatFusion,
    "attention": GatedAttention,
    "late": LateFusion,
    "cross_attention": CrossAttention,
    "transformer": TransformerFusion,
    "gnn": GraphFusion,
}
