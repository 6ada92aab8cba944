"""What an encoder is fitted to, and how well content alone ranks by what it gives.

Letters: U users, I items, d dimensions of a feature, D of a recommender's, n users with something to find.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gnnrec.datasets.interactions import Interactions
from gnnrec.encoders.augment import AugmentConfig
from gnnrec.encoders.features import Features, mean_and_scale
from gnnrec.metrics import hits_of, ndcg
from gnnrec.ranking import embedding_scorer, top_k, unseen

CUT = 10  # length of the lists by which encoders are selected


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Content of all items, and the rows of the log that may be learnt from and selected by. No test row is here."""

    contents: Sequence[str | Path | None]  # [I] texts, or paths of pictures or sounds; None: missing
    train: Interactions
    val: Interactions
    device: torch.device
    audio_seconds: float  # of each sound that are listened to
    users: NDArray[np.float32] | None = None  # [U, D] of a recommender of these train rows, where there is one
    augment: AugmentConfig = field(default_factory=AugmentConfig)  # how strongly, where copies are augmented
    checkpoint: Path | None = None  # where a long fitting keeps its state, to go on from after a stop


def content_ndcg(features: Features, corpus: Corpus) -> float:
    """Mean NDCG@10 on validation of lists by content alone: a user is the mean of what she had in train, an item's
    score its cosine with her, features standardized per dimension. 0 where nobody has anything to find."""
    values, known = torch.from_numpy(features.values), torch.from_numpy(features.mask)
    if not known.any():
        return 0.0
    mean, scale = mean_and_scale(values[known])
    unit = F.normalize((values - mean) / scale * known[:, None], dim=1)  # [I, d]
    train = corpus.train.matrix()
    wanted = unseen(corpus.val.matrix(), train)
    users = np.flatnonzero(np.diff(wanted.indptr))  # [n]
    if not len(users):
        return 0.0
    profile = torch.from_numpy((train @ unit.numpy()).astype(np.float32))  # [U, d]
    found = top_k(embedding_scorer(profile, unit), users, CUT, train).items.numpy()
    relevant: NDArray[np.int64] = np.diff(wanted.indptr)[users]
    return float(ndcg(hits_of(found, users, wanted), relevant, CUT).mean())


def ndcg_among(user: Tensor, item: Tensor, wanted: sp.csr_array) -> float:
    """Mean NDCG@10 of lists by inner products among the items [m, d] alone, for users [U, d] of whom `wanted` [U, m]
    has any; 0 where nobody has."""
    users = np.flatnonzero(np.diff(wanted.indptr))
    if not len(users):
        return 0.0
    found = top_k(embedding_scorer(user, item), users, min(CUT, len(item))).items.cpu().numpy()
    return float(ndcg(hits_of(found, users, wanted), np.diff(wanted.indptr)[users], CUT).mean())
