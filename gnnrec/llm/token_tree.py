"""TokenTree: what a language model expects next, at the nodes of a tree of tokens that grows behind B prefixes.

The nodes of one step are read in one pass, each as if it stood alone behind its prefix and the tokens above it: keys
and values of everything read are kept, and a node attends to the prefix, to what is above it and to itself (tree
attention, Miao et al. 2024, SpecInfer). Nothing is read twice, nothing is copied from branch to branch.

Letters: B prefixes, n nodes of a step, N nodes in all, s places of the longest prefix, V words of the vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gnnrec.language.local import LocalLM, Soft


class TokenTree:
    """`root` holds log p of every first token behind each prefix. [B, V]

    A negative number in a prefix is a soft token of `soft`, as `LocalLM.log_probs` takes it.
    """

    @torch.no_grad()
    def __init__(self, model: LocalLM, prefixes: Sequence[Sequence[int]], soft: Soft | None = None) -> None:
        self._model, self._cache, self._soft = model, model.new_cache(), soft
        lengths = torch.tensor([len(prefix) for prefix in prefixes])  # [B]
        tokens = torch.zeros(len(prefixes), int(lengths.max()), dtype=torch.long)
        for row, prefix in enumerate(prefixes):
            tokens[row, : len(prefix)] = torch.tensor(prefix)
        self._places = torch.arange(tokens.shape[1]).expand(tokens.shape)  # [B, s], later [B, s + N]
        self._real = self._places < lengths[:, None]  # [B, s]: no padding
        self._lengths = lengths
        self._above = torch.zeros(0, 0, dtype=torch.bool)  # [N, N]: which nodes stand above which, and itself
        self._depth = torch.zeros(0, dtype=torch.long)  # [N]
        causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril()
        # Padding stands behind, where no prefix looks; what it reads itself is of no use and does no harm.
        hidden = self._read(tokens, self._places, causal.expand(len(prefixes), -1, -1))
        self.root = self._log_probs(hidden[torch.arange(len(prefixes)), lengths - 1])

    @property
    def size(self) -> int:
        """Nodes so far. N"""
        return len(self._depth)

    @torch.no_grad()
    def grow(self, parents: Sequence[int | None], tokens: Sequence[int]) -> Tensor:
        """One node for each token, under the node of that number (None: the first of a text); nodes are numbered as
        they come. log p of every token behind each. [B, n, V]"""
        old, new = self.size, len(tokens)
        above = torch.zeros(old + new, old + new, dtype=torch.bool)
        above[:old, :old] = self._above
        depth = torch.zeros(new, dtype=torch.long)
        for row, parent in enumerate(parents):
            if parent is not None:
                above[old + row] = above[parent]
                depth[row] = self._depth[parent] + 1
            above[old + row, old + row] = True
        self._above, self._depth = above, torch.cat([self._depth, depth])
        places = self._lengths[:, None] + depth  # [B, n]
        self._places = torch.cat([self._places, places], 1)
        rows = len(self._lengths)
        allowed = torch.cat([self._real[:, None, :].expand(rows, new, -1), above[old:].expand(rows, new, -1)], 2)
        return self._log_probs(self._read(torch.tensor(tokens).expand(rows, new), places, allowed))

    def _read(self, tokens: Tensor, places: Tensor, allowed: Tensor) -> Tensor:
        """States after the tokens, whose keys and values join the kept ones. [B, n], [B, n], [B, n, t] -> [B, n, d]"""
        device = self._model.device
        hidden: Tensor = self._model.model.model(
            inputs_embeds=self._model.embedded(tokens.to(device), self._soft),
            position_ids=places.to(device),
            attention_mask=self._model.masks(allowed, places, self._places),
            use_cache=True,
            **self._cache,
        ).last_hidden_state
        return hidden

    def _log_probs(self, hidden: Tensor) -> Tensor:
        return self._model.model.get_output_embeddings()(hidden).float().log_softmax(-1).cpu()
