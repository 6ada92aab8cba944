"""What modality_gnn is given once its training is over: factors, waves, places of new items and paths, in closed form.

Each is fitted to the log and counts as much as validation wants; what was chosen is kept in buffers beside the weights.
Factors (factors.py) and waves (spectrum.py) lengthen the embeddings, items without interactions are put where their
content foretells (placement.py), and paths from item to item (paths.py) are scores that come on top.

Letters: I items, f factors.
"""

from collections.abc import Callable, Iterable
from typing import Protocol, Self

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.models.appended import Part, appended, appended_in_blocks
from gnnrec.models.base import EmbeddingModel, Embeddings, embeddings_of, summed
from gnnrec.models.factors import Factors, choose_factors, factors_like, factors_part, fit_factors, middle_one
from gnnrec.models.paths import choose_paths, combined, histories, path_parts
from gnnrec.models.placement import Placement, fit_placement, place, placed
from gnnrec.models.slim import matrix_of, parts_of, sparse_scores
from gnnrec.models.spectrum import Spectrum, choose_spectrum, fit_spectrum, spectrum_like, spectrum_part
from gnnrec.ranking import Scorer, embedding_scorer

PLACEMENT = tuple(f"placement_{name}" for name in Placement._fields)
SPECTRUM = tuple(f"spectrum_{name}" for name in Spectrum._fields)
PATHS = ("path_offsets", "path_columns", "path_values")


class Wanted(Protocol):
    """Which of them are tried; settings of modality_gnn."""

    @property
    def factors(self) -> bool: ...
    @property
    def spectrum(self) -> bool: ...
    @property
    def paths(self) -> bool: ...
    @property
    def placement(self) -> bool: ...
    @property
    def recent(self) -> int: ...
    @property
    def half_life(self) -> float: ...


class ClosedForms(EmbeddingModel):
    fitted_buffers = ("factor_items", *SPECTRUM, *PLACEMENT, *PATHS)
    wanted: Wanted
    path_offsets: Tensor  # CSR of the item paths [I, I] once chosen, see paths.py; empty for none
    path_columns: Tensor
    path_values: Tensor
    path_weights: Tensor  # of what goes together, of what follows
    factor_items: Tensor  # [I, f] of iALS once chosen, see factors.py; empty for none
    factor_settings: Tensor  # weight, l2, confidence
    spectrum_vectors: Tensor  # as the other buffers spectrum_… see spectrum.py; empty for none
    placement_landmarks: Tensor  # as the other buffers placement_… see placement.py; empty for none

    def __init__(self, wanted: Wanted, num_items: int) -> None:
        super().__init__()
        self.wanted, self.num_items = wanted, num_items
        self.register_buffer("path_weights", torch.zeros(2))
        self.register_buffer("factor_settings", torch.zeros(3))
        for name in self.fitted_buffers:
            self.register_buffer(name, torch.empty(0))

    @property
    def appended_width(self) -> int:
        factors: int = self.factor_items.shape[-1]
        return factors + self.get_buffer("spectrum_values").numel()

    def parts(self, num_items: int) -> list[Part]:
        """The chosen factors and waves, which lengthen the embeddings of so many items and of their users."""
        return [*self._factors(num_items), *self._waves(num_items)]

    def with_factors(self, graph: HeteroData, embeddings: Embeddings, users: slice = slice(None)) -> Embeddings:
        """Users by their histories in the graph; the embeddings are those of `users`."""
        return _with(graph, embeddings, self._factors(len(embeddings.item)), users)

    def with_waves(self, graph: HeteroData, embeddings: Embeddings, users: slice = slice(None)) -> Embeddings:
        """Those with factors, still longer."""
        return _with(graph, embeddings, self._waves(len(embeddings.item)), users)

    def with_new_items(self, graph: HeteroData, embeddings: Embeddings) -> Embeddings:
        """Lengthened ones, items without interactions where their content foretells them."""
        return placed(graph, embeddings, self._placement()) if len(self.placement_landmarks) else embeddings

    def closed_forms_in_blocks(self, graph: HeteroData, embeddings: Embeddings) -> Embeddings:
        """Both of the above, a block of rows at a time, see layerwise.py."""
        for part in self.parts(len(embeddings.item)):
            embeddings = appended_in_blocks(graph, embeddings, part)
        if len(self.placement_landmarks):
            place(graph, embeddings.item, self._placement())
        return embeddings

    def path_scores(self, graph: HeteroData) -> Scorer | None:
        if not len(self.path_offsets):
            return None
        return self._path_scorer(graph, matrix_of(self.path_offsets, self.path_columns, self.path_values))

    def check_fitted(self) -> None:
        factors, waves = self.factor_items, self._spectrum()
        if len(factors):
            _check("factor_items", factors, (self.num_items, factors.shape[-1]))
            _check("factor_settings", self.factor_settings, (3,))
        if waves.vectors.numel():
            size = waves.values.numel()
            for name, part, shape in zip(SPECTRUM, waves, ((1,), (self.num_items, size), (size,), (self.num_items,))):
                _check(name, part, shape)
            if not (waves.degrees > 0).all():
                raise ValueError("spectrum_degrees: not above 0")

    @torch.no_grad()
    def finish(self, graph: HeteroData, measure: Callable[[Scorer], float]) -> None:
        embeddings, wanted = embeddings_of(self, graph), self.wanted
        tried = fit_factors(graph) if wanted.factors or wanted.placement else []
        if wanted.factors and (factors := choose_factors(graph, embeddings, tried, measure)):
            self.factor_items, self.factor_settings = factors
            embeddings = self.with_factors(graph, embeddings)
        if wanted.spectrum:
            self._keep(SPECTRUM, choose_spectrum(graph, embeddings, fit_spectrum(graph), measure))
        scores = self._finished(graph, self.with_waves(graph, embeddings), tried)
        if not wanted.paths:
            return

        def measured(paths: csr_array | None) -> float:
            return measure(scores if paths is None else summed(scores, self._path_scorer(graph, paths)))

        self._set_paths(*choose_paths(graph, scores, wanted.recent, wanted.half_life, measured))

    @torch.no_grad()
    def finish_like(self, graph: HeteroData, other: Self) -> None:
        embeddings, wanted = embeddings_of(self, graph), self.wanted
        tried = fit_factors(graph) if wanted.placement or len(other.factor_items) else []
        if len(other.factor_items):
            self.factor_items, self.factor_settings = factors_like(tried, other.factor_settings)
        if len(other.spectrum_vectors) and (spectrum := fit_spectrum(graph)):
            self._keep(SPECTRUM, spectrum_like(spectrum, other._spectrum()))
        embeddings = self.with_waves(graph, self.with_factors(graph, embeddings))
        scores = self._finished(graph, embeddings, tried)
        if len(other.path_offsets):
            weights = other.path_weights
            parts = path_parts(graph, scores, wanted.recent, wanted.half_life)
            self._set_paths(combined(parts, weights.tolist()), weights)

    def _finished(self, graph: HeteroData, embeddings: Embeddings, tried: list[Factors]) -> Scorer:
        """Fits the placement to the lengthened embeddings; returns their scores, which paths are added to."""
        if self.wanted.placement:
            self._keep(PLACEMENT, fit_placement(graph, embeddings, middle_one(graph, tried)))
        return embedding_scorer(embeddings.user, embeddings.item)

    def _set_paths(self, paths: csr_array | None, weights: Tensor) -> None:
        self.path_weights = weights
        self._keep(PATHS, None if paths is None else parts_of(paths))

    def _keep(self, names: tuple[str, ...], parts: Iterable[Tensor] | None) -> None:
        for name, part in zip(names, parts or ()):
            self.register_buffer(name, part)

    def _path_scorer(self, graph: HeteroData, paths: csr_array) -> Scorer:
        starts = histories(graph, self.wanted.recent, self.wanted.half_life)
        if (num_items := graph["item"].num_nodes) > paths.shape[0]:  # items that joined later are on no path
            paths = csr_array(paths)
            paths.resize(num_items, num_items)
        return lambda users: sparse_scores(starts, users, paths)

    def _factors(self, num_items: int) -> list[Part]:
        if not len(self.factor_items):
            return []
        return [factors_part(self.factor_items, self.factor_settings, num_items)]

    def _waves(self, num_items: int) -> list[Part]:
        return [spectrum_part(self._spectrum(), num_items)] if len(self.spectrum_vectors) else []

    def _spectrum(self) -> Spectrum:
        return Spectrum(*(self.get_buffer(name) for name in SPECTRUM))

    def _placement(self) -> Placement:
        return Placement(*(self.get_buffer(name) for name in PLACEMENT))


def _with(graph: HeteroData, embeddings: Embeddings, parts: list[Part], users: slice) -> Embeddings:
    for part in parts:
        embeddings = appended(embeddings, part.embeddings(graph, users), part.weight)
    return embeddings


def _check(name: str, found: Tensor, shape: tuple[int, ...]) -> None:
    if found.shape != shape or found.dtype != torch.float32 or not found.isfinite().all():
        raise ValueError(f"{name}: {tuple(found.shape)}")
