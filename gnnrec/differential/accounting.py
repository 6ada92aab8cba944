"""What Gaussian noise is worth in (epsilon, delta), by dp-accounting. Neighbours: one user more or less."""

import math

from gnnrec.errors import UserError, missing_extra


def check_budget(epsilon: float, delta: float, where: str = "model") -> None:
    """Raises UserError for what is no privacy budget; an epsilon of inf is no noise at all."""
    if not epsilon > 0:
        raise UserError(f"{where}.epsilon: found {epsilon}; allowed: above 0, inf for no privacy at all")
    if not 0 < delta < 1:
        raise UserError(f"{where}.delta: found {delta}; allowed: above 0, below 1")


def check_users(delta: float, num_users: int) -> None:
    """Raises UserError where delta would allow to publish a user whole: it has to be below one in all users."""
    if delta * num_users >= 1:
        raise UserError(f"model.delta: found {delta} for {num_users:,} users; allowed: below {1 / num_users:.2g}")


def gaussian_multiplier(epsilon: float, delta: float) -> float:
    """Standard deviation of the noise over the L2 sensitivity, for one release; 0 for an epsilon of inf.

    Exact, not the bound of textbooks (Balle & Wang 2018, "Improving the Gaussian mechanism").
    """
    if math.isinf(epsilon):
        return 0.0
    mechanism, common = _dp_accounting()
    wanted = common.DifferentialPrivacyParameters(epsilon, delta)
    return float(mechanism.GaussianPrivacyLoss.from_privacy_guarantee(wanted, sensitivity=1).standard_deviation)


def gaussian_epsilon(multiplier: float, delta: float) -> float:
    """The epsilon of one release with this noise: `gaussian_multiplier` the other way round."""
    if multiplier == 0:
        return math.inf
    mechanism, _ = _dp_accounting()
    loss = mechanism.GaussianPrivacyLoss(standard_deviation=multiplier, sensitivity=1)
    low, high = 0.0, 1.0
    while loss.get_delta_for_epsilon(high) > delta:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if loss.get_delta_for_epsilon(middle) > delta else (low, middle)
    return high


def _dp_accounting():  # type: ignore[no-untyped-def]
    try:
        from dp_accounting.pld import common, privacy_loss_mechanism
    except ModuleNotFoundError as error:
        raise missing_extra("dp", str(error.name)) from error
    return privacy_loss_mechanism, common
