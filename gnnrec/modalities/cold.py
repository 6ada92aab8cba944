"""Cold items placed by content alone, without a graph: what alignment with collaborative embeddings is worth there.

Letters: U users, I items, f factors, D of the common space.
"""

from collections.abc import Mapping

import numpy as np
import torch

from gnnrec.alignment import ContrastConfig, fit_cca, fit_contrastive, fit_ridge
from gnnrec.encoders.features import Features, mean_and_scale
from gnnrec.errors import UserError
from gnnrec.modalities.ablation import Trial, Values, among_cold_items
from gnnrec.modalities.meeting import COLLABORATIVE, RIDGE_L2, collaborative, deal
from gnnrec.models.factors import SETTINGS
from gnnrec.models.ials import user_factors
from gnnrec.ranking import embedding_scorer
from gnnrec.vectors import unit_length

METHODS = ("ridge", "cca", "infonce", "mean of content")


def cold_by_content(trial: Trial, method: str, seed: int = 0) -> Values:
    """NDCG@10 among the cold items, by user.

    ridge            iALS factors of cold items predicted from the standardized features of all modalities side by side
    cca              features and iALS factors in the space of their canonical correlations; a user as with infonce
    infonce          features and iALS factors in one space; a user is the mean of what she took, in it
    mean of content  no alignment: a user is the mean of the features of what she took, by cosine
    """
    if method not in METHODS:
        raise UserError(f"cold items: method {method!r}; allowed: {', '.join(METHODS)}")
    train, factors = trial.parts.train, collaborative(trial.parts.train)
    content = side_by_side(trial.items)
    known = np.flatnonzero(factors.mask & content.mask)
    history = train.matrix()
    if method == "ridge":
        l2, confidence = SETTINGS[1]
        fit, choose, _ = deal(known, seed)
        x, y = content.values, factors.values
        errors = [np.square(fit_ridge(x[fit], y[fit], l2=one).predict(x[choose]) - y[choose]).sum() for one in RIDGE_L2]
        ridge = fit_ridge(x[known], y[known], l2=RIDGE_L2[int(np.argmin(errors))])
        item = torch.from_numpy(ridge.predict(x)).float()
        user = user_factors(history, torch.from_numpy(y), l2, confidence)
    else:
        if method == "cca":
            cca = fit_cca(content.values[known], factors.values[known])
            placed = unit_length(cca.project(0, content.values)) * content.mask[:, None]
            taken = unit_length(cca.project(1, factors.values)) * factors.mask[:, None]
        elif method == "infonce":
            views = {**trial.items, COLLABORATIVE: factors}
            fit, choose, rest = deal(known, seed)
            aligner = fit_contrastive(views, np.concatenate([fit, rest]), choose, ContrastConfig(seed=seed))
            rows = {name: unit_length(aligner.embed(name, trial.items[name].values)) for name in trial.items}
            placed = unit_length(np.sum([rows[name] * trial.items[name].mask[:, None] for name in rows], axis=0))
            taken = unit_length(aligner.embed(COLLABORATIVE, factors.values)) * factors.mask[:, None]
        else:
            placed = taken = unit_length(content.values)
        user, item = torch.from_numpy(unit_length(history @ taken)).float(), torch.from_numpy(placed).float()
    return {"cold items": among_cold_items(trial, embedding_scorer(user, item))}


def side_by_side(features: Mapping[str, Features]) -> Features:
    """Standardized features of all modalities as one row, each modality of length about one; missing ones are zero."""
    parts = []
    for name in sorted(features):
        values, mask = torch.from_numpy(features[name].values), features[name].mask
        mean, scale = mean_and_scale(values[torch.from_numpy(mask)])
        parts.append(((values - mean) / scale).numpy() * mask[:, None] / values.shape[1] ** 0.5)
    return Features(
        values=np.concatenate(parts, axis=1).astype(np.float32),
        mask=np.any([part.mask for part in features.values()], axis=0),
        encoder="",
    )
