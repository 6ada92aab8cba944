"""A language model tuned as a reranker: low-rank adapters, a head that turns a state into a score, and soft tokens.

score = head(state at the end of the candidate's card), read behind the user's past, all candidates in one pass in
which none sees another (`LocalLM.block_states`). Adapters are those of LoRA (Hu et al. 2022) on the projections of
queries and values, as LlamaRec has them.

Letters: B users, N candidates of each, d width of the language model.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from gnnrec.encoders.lora import ADAPTER, add_adapters, merge_adapters
from gnnrec.encoders.packed import pack_linear
from gnnrec.errors import UserError
from gnnrec.language.local import LocalLM
from gnnrec.llm.passes import Tokens
from gnnrec.llm.soft_tokens import SoftTokens, Vectors

ADAPTED = ("q_proj", "v_proj", "qkv_proj")  # phi3 has one layer for queries, keys and values


class TunedModel(nn.Module):
    """`vectors`: the graph's embeddings for soft tokens; None: the text alone counts."""

    def __init__(self, lm: LocalLM, rank: int, vectors: Vectors | None, generator: Generator) -> None:
        super().__init__()
        add_adapters(lm.model, ADAPTED, rank, generator.initial_seed())
        words = lm.model.get_input_embeddings().weight.detach()
        self._lm = (lm,)  # in a tuple: its weights are not this module's own
        self.head = nn.Linear(words.shape[1], 1)
        self.soft_head = nn.Linear(words.shape[1], 1)  # of states read behind soft tokens
        for head in (self.head, self.soft_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        some = words[torch.randperm(len(words), generator=generator)[:2000]].float()
        self.soft = SoftTokens(vectors, some, generator) if vectors is not None else None

    @property
    def lm(self) -> LocalLM:
        return self._lm[0]

    def adapters(self) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in self.lm.model.named_parameters() if ADAPTER in name}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that was learnt."""
        return {f"adapter.{name}": weight.detach() for name, weight in self.adapters().items()} | self.state_dict()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """What `tensors` gave. Raises UserError where it does not fit."""
        own = self.tensors()
        if set(own) != set(tensors) or any(own[name].shape != tensors[name].shape for name in own):
            raise UserError("the weights do not fit the language model or the run")
        if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
            raise UserError("weights that are no finite numbers")
        with torch.no_grad():
            for name, weight in self.adapters().items():
                weight.copy_(tensors[f"adapter.{name}"])
        self.load_state_dict({name: tensors[name] for name in self.state_dict()})

    def only_to_read(self) -> None:
        """Nothing more will be learnt: what was learnt beside the model's weights becomes part of them."""
        merge_adapters(self.lm.model)
        pack_linear(self.lm.model)
        self.requires_grad_(False)

    def scores(
        self, prefixes: Sequence[Tokens], blocks: Sequence[Sequence[Tokens]], soft: SoftTokens | None = None
    ) -> list[Tensor]:
        """[N] for each of B users; differentiable. `soft`: what negative tokens stand for."""
        head = self.head if soft is None else self.soft_head
        return [head(states.float())[:, 0] for states in self.lm.block_states(prefixes, blocks, soft)]
