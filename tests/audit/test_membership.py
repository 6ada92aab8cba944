"""The audit finds a planted leak, keeps still where there is none, and what it says of intervals is right."""

import numpy as np
import pytest

from gnnrec.audit.membership import audit_membership, clopper_pearson, judge, likelihood_ratios
from gnnrec.datasets import Dataset, planted
from gnnrec.errors import UserError
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe


def outcomes(leak: float, trials: int = 24, users: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Each user has a level of her own; membership raises her statistic by `leak` standard deviations."""
    random = np.random.default_rng(0)
    member = random.random((trials, users)) < 0.5
    level = 10 * random.normal(size=users)
    return member, level + leak * member + random.normal(size=(trials, users))


def test_a_leak_is_found_as_far_as_it_goes_though_users_differ_by_more() -> None:
    member, statistic = outcomes(leak=2.0)
    found = judge(likelihood_ratios(member, statistic), member)
    assert 0.87 < found.auc < 0.93  # two normal distributions, two deviations apart: 0.921
    assert 0.2 < found.tpr < 0.4 and found.fpr <= 0.01  # at best 0.372
    member, statistic = outcomes(leak=0.0)
    found = judge(likelihood_ratios(member, statistic), member)
    assert abs(found.auc - 0.5) < 0.03 and found.tpr < 0.03


def test_a_false_epsilon_is_seen() -> None:
    member, statistic = outcomes(leak=3.0)
    ratios = likelihood_ratios(member, statistic)
    assert judge(ratios, member, (1.0, 1e-5)).within is False
    assert judge(ratios, member, (6.0, 1e-5)).within is True
    assert judge(ratios, member).within is None


def test_the_interval_is_the_exact_one() -> None:
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 0.30850), abs=1e-5)  # 1 - 0.025 ** (1 / 10)
    assert clopper_pearson(5, 10) == pytest.approx((0.18709, 0.81291), abs=1e-5)


def test_a_run_that_learns_users_by_heart_leaks_and_a_private_one_does_not(tmp_path) -> None:
    """More items than users, so that a pair of items is often one user's own."""
    dataset = planted("text", num_users=60, num_items=200, cold_share=0.0)
    open_run = train(dataset, tmp_path / "open", load_recipe("ease", ["model.l2=1"]))
    private = train(dataset, tmp_path / "private", load_recipe("dp_filter", ["model.epsilon=1", "model.delta=1e-4"]))
    leaky, kept = audit_membership(open_run, 12, dataset), audit_membership(private, 12, dataset)
    assert leaky.auc > 0.75 and leaky.tpr > 0.05
    assert kept.within and abs(kept.auc - 0.5) < 0.08
    assert leaky.within is None and leaky.bound is None


def test_the_command_goes_on_from_the_shadows_that_are_there(planted_folder, tmp_path, one_document, run_command):
    train(Dataset.load(planted_folder), tmp_path / "run", load_recipe("item_knn"))
    few = one_document("audit", tmp_path / "run", "--trials", "4")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "audit").iterdir()}
    assert few["trials"] == len(files) == 4
    assert one_document("audit", tmp_path / "run", "--trials", "6")["trials"] == 6
    assert all(path.stat().st_mtime_ns == made for path, made in files.items())
    status, _, said = run_command("audit", tmp_path / "run", "--trials", "3")
    assert (status, said) == (2, "gnnrec: audit --trials: found 3; allowed: 4 or more\n")


def test_too_few_trials_are_refused(planted_run) -> None:
    with pytest.raises(UserError, match="allowed: 4 or more"):
        audit_membership(planted_run, 1)
