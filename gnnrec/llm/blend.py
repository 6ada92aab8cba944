"""From two scores to one order: the graph's own and the language model's, with bounds on what the latter may do.

Letters: N candidates of a window, in the order of the graph's scores.
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def standardized(scores: Scores) -> Scores:
    """Mean 0 and deviation 1 over the window; what is unknown (nan) stands at the mean. [N] -> [N]"""
    known = scores[np.isfinite(scores)]
    if len(known) < 2 or not known.std() > 1e-12:
        return np.zeros(len(scores))
    centered: Scores = np.where(np.isfinite(scores), (scores - known.mean()) / known.std(), 0.0)
    return centered


def blended(base: Scores, judged: Scores, weight: float) -> Scores:
    """z(base) + weight * z(judged). [N]"""
    return standardized(base) + weight * standardized(judged)


def bounded_order(total: Scores, cap: int, margin: float = 0.0) -> NDArray[np.int64]:
    """Places of the window [N], best first, such that nothing stands more than `cap` places above its own.

    Whatever an item's text says, `cap` places are all that it can win. Scores that differ by no more than `margin` keep
    the window's order, so that a model whose figures shake a little gives the same list. Every place comes up once.
    """
    left, order = list(range(len(total))), []
    for place in range(len(total)):
        within = [item for item in left if item <= place + cap]
        best = max(total[item] for item in within)
        chosen = next(item for item in within if total[item] >= best - margin)
        left.remove(chosen)
        order.append(chosen)
    return np.array(order, dtype=np.int64)
