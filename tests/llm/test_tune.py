"""Tuning learns what the log says and goes on where it stopped; soft tokens count only where they say something."""

import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Generator

from gnnrec.cipher import is_sealed
from gnnrec.datasets import Catalog
from gnnrec.errors import UserError
from gnnrec.language.local import LocalLM
from gnnrec.llm import tune as tuning
from gnnrec.llm.block_scorer import Prompts
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.controls import CONTROLS, held_against_controls, matters
from gnnrec.llm.past import NOBODY, Past
from gnnrec.llm.settings import LLMConfig
from gnnrec.llm.soft_tokens import SoftTokens
from gnnrec.llm.tune import TuneConfig, Tuning, check_settings, tune
from gnnrec.llm.tuned_model import TunedModel
from gnnrec.llm.tuned_scorer import FILE, TunedScorer, open_tuned, read_tuned
from gnnrec.llm.windows import TrainingWindow, nearest_in_order, training_windows
from gnnrec.run_folder import Run
from gnnrec.vault import encrypt_folder, write_bytes

LLM = LLMConfig(model="tiny", noun="films", history=4, window=8)
CONFIG = TuneConfig(windows=12, soft_windows=8, negatives=3, batch=2, val_users=10)


@pytest.fixture
def encrypted_run(planted_run: Run, tmp_path: Path, encryption_key: Path) -> Run:
    """The same, encrypted."""
    encrypt_folder(tmp_path / "sealed")
    for path in filter(Path.is_file, planted_run.folder.iterdir()):
        write_bytes(tmp_path / "sealed" / path.name, path.read_bytes())
    return Run.load(tmp_path / "sealed")


def test_windows_hold_what_was_taken_and_what_stands_next_to_it(planted_run: Run) -> None:
    from gnnrec.models import model_scorer

    scorer = model_scorer(planted_run.model, planted_run.graph)
    had = {user: set(planted_run.train.item[planted_run.train.user == user].tolist()) for user in range(5000)}
    above, below = 0, 0
    for window in islice(training_windows(planted_run, lambda item: item != 3, 8, 5, 0), 200):
        taken, *others = window.items
        assert taken in had[window.user]
        assert taken not in window.past.items
        assert set(window.past.items) <= had[window.user]
        assert not set(others) & had[window.user]
        assert len(set(others)) == len(others) == 5
        assert 3 not in (*window.items, *window.past.items)
        with torch.no_grad():
            scores = scorer(torch.tensor([window.user]))[0]
        above += int((scores[others] > scores[taken]).sum())
        below += int((scores[others] < scores[taken]).sum())
    assert min(above, below) > 0


def test_negatives_stand_above_and_below_where_there_are_any() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.5, 0.7, 0.3, 0.6, 0.2], dtype=np.float32)
    others = np.array([0, 1, 2, 4, 5, 6, 7])
    assert nearest_in_order(scores, others, 3, 4).tolist() == [4, 6, 5, 7]
    assert nearest_in_order(scores, others[1:], 0, 3).tolist() == [2, 4, 6]  # the best has none above
    assert nearest_in_order(scores, others[[0, 2, 3]], 1, 2).tolist() == [2, 4]  # and the worst none below
    assert nearest_in_order(scores, others, 3, 99).tolist() == [0, 2, 4, 6, 5, 7, 1]


def test_no_row_of_validation_is_seen(planted_run: Run) -> None:
    from gnnrec.datasets import Interactions

    log = planted_run.val
    other = replace(planted_run)
    other.__dict__["val"] = Interactions(
        user=log.user, item=log.item[::-1].copy(), num_users=log.num_users, num_items=log.num_items
    )
    drawn = [list(islice(training_windows(run, lambda item: True, 8, 5, 0), 50)) for run in (planted_run, other)]
    assert drawn[0] == drawn[1]


def test_who_had_nothing_to_read_cannot_be_tuned_on(planted_run: Run) -> None:
    with pytest.raises(UserError, match="no user had two things with a text"):
        next(training_windows(planted_run, lambda item: False, 8, 5, 0))


def test_a_soft_token_is_read_as_the_word_whose_vector_it_is(every_lm: LocalLM) -> None:
    words = every_lm.tokens("film")
    vectors = every_lm.model.get_input_embeddings()(torch.tensor(words)).detach()
    start, blocks = every_lm.start, [every_lm.tokens(" A film"), every_lm.tokens("x")]
    hard = every_lm.log_probs([[*start, *words]], [blocks])[0]
    soft = every_lm.log_probs([[*start, -1, -2, -3, -4]], [blocks], lambda numbers: vectors[numbers])[0]
    assert soft == pytest.approx(hard, abs=1e-5)
    states = every_lm.block_states([[*start, *words]], [blocks])[0]
    as_soft = every_lm.block_states([[*start, -1, -2, -3, -4]], [blocks], lambda numbers: vectors[numbers])[0]
    assert torch.allclose(states, as_soft, atol=1e-5)


def test_a_state_is_that_of_a_plain_pass(every_lm: LocalLM) -> None:
    prefix, blocks = [*every_lm.start, *every_lm.tokens("I liked")], [every_lm.tokens(" A film"), every_lm.tokens("x")]
    found = every_lm.block_states([prefix, prefix[:3]], [blocks, blocks[:1]])
    for before, own, states in ((prefix, blocks, found[0]), (prefix[:3], blocks[:1], found[1])):
        for block, state in zip(own, states):
            alone = every_lm.model.model(input_ids=torch.tensor([before + block])).last_hidden_state[0, -1]
            assert torch.allclose(alone, state, atol=1e-4)


def test_soft_tokens_are_those_of_their_owner() -> None:
    random = Generator().manual_seed(0)
    users, items = torch.randn(3, 4, generator=random), torch.randn(5, 4, generator=random)
    soft = SoftTokens((users, items), torch.randn(9, 6, generator=random), random)
    numbers = [-1 - soft.item(4), -1 - soft.user(2), -1 - soft.item(0), -1 - soft.user(0)]
    found = soft(torch.tensor(numbers))
    scaled = [table / table.square().mean().sqrt() for table in (users, items)]
    of_users, of_items = soft.projectors
    expected = [of_items(scaled[1][4]), of_users(scaled[0][2]), of_items(scaled[1][0]), of_users(scaled[0][0])]
    assert torch.allclose(found, torch.stack(expected), atol=1e-6)


def test_controls_are_what_they_are_called() -> None:
    users, items = torch.arange(12.0).view(6, 2), torch.arange(10.0).view(5, 2)
    made = {name: change((users, items), Generator().manual_seed(0)) for name, change in CONTROLS.items()}
    assert not made["zero"][0].any() and not made["zero"][1].any()
    for name, kept in (("shuffled", False), ("another user's", True)):
        assert sorted(made[name][0].tolist()) == users.tolist()
        assert not (made[name][0] == users).all(1).any()  # nobody has her own
        assert (made[name][1] == items).all() == kept


class Planted:
    """What users like stands in their embeddings and nowhere else: all titles are alike. Whose windows are left for the
    end are not among those before: the taste of somebody seen could be learnt by heart from any vector of her own."""

    def __init__(self, lm: LocalLM, told: bool) -> None:
        random = np.random.default_rng(0)
        taste, kind = random.integers(2, size=60), np.arange(40) % 2
        vectors = torch.from_numpy(random.normal(size=(100, 8)).astype(np.float32))
        if told:
            vectors[:60, 0], vectors[60:, 0] = torch.from_numpy(4 * taste - 2), torch.from_numpy(4 * kind - 2)
        self.vectors = (vectors[:60], vectors[60:])
        self.windows = []
        for user in [*random.integers(50, size=780), *random.integers(50, 60, size=120)]:
            own, others = (np.flatnonzero((kind == taste[user]) == same) for same in (True, False))
            items = (random.choice(own), *random.choice(others, 3, replace=False))
            self.windows.append(TrainingWindow(int(user), NOBODY, tuple(map(int, items))))
        catalog = Catalog(pl.DataFrame({"title": ["A film"] * 40}), ("title",))
        prompts = Prompts(lm, Cards(catalog, lm.tokens, CardConfig()), "films")
        self.model = TunedModel(lm, 2, self.vectors, Generator().manual_seed(0))
        self.text, self.soft = (TunedScorer(self.model, prompts, soft, "x") for soft in (None, self.model.soft))

    def controls(self) -> dict[str, dict[str, float]]:
        """After a training on the first 780 windows, of the rest."""
        model, steps = self.model, 130
        assert model.soft is not None
        optimizer = torch.optim.AdamW([*model.soft.parameters(), *model.soft_head.parameters()], lr=1e-2)
        torch.nn.init.normal_(model.soft_head.weight, 0, 0.1, generator=Generator().manual_seed(0))
        for step in range(steps):
            batch = self.windows[6 * step : 6 * step + 6]
            tuning.step(model, self.soft, batch, optimizer)
        rest = self.windows[6 * steps :]
        asked = ([NOBODY] * len(rest), [list(w.items) for w in rest], [w.user for w in rest])
        hits = np.tile(np.arange(4) == 0, (len(rest), 1))
        return held_against_controls(self.soft, self.text, self.vectors, asked, hits, 0)


@pytest.mark.guarantee("G15")
def test_planted_embeddings_are_used_and_beat_every_control(llama) -> None:
    found = Planted(llama(), told=True).controls()
    assert matters(found)
    assert found["real"]["ndcg"] > 0.9
    assert found["real"]["likelihood"] > max(row["likelihood"] for name, row in found.items() if name != "real") + 0.3
    assert found["text"]["likelihood"] == pytest.approx(np.log(1 / 4), abs=1e-5)  # equal texts say nothing
    assert found["real"]["ndcg"] > found["shuffled"]["ndcg"]


@pytest.mark.guarantee("G15")
def test_embeddings_that_say_nothing_are_found_out(llama) -> None:
    found = Planted(llama(), told=False).controls()
    assert not matters(found)
    assert not matters({})


@pytest.mark.parametrize("which", ["own_run", "encrypted_run"])
def test_a_stopped_tuning_goes_on_to_the_same_weights(which: str, request, llama, monkeypatch) -> None:
    own_run: Run = request.getfixturevalue(which)
    monkeypatch.setattr(tuning, "SAVE_EVERY", 2)
    clock, seconds = [100.0], list[float]()  # a step takes one second
    monkeypatch.setattr(tuning, "process_time", lambda: clock[0])

    def made(run: Run, stop: int | None) -> dict[str, torch.Tensor]:
        lm = llama()
        model = TunedModel(lm, 2, (torch.eye(len(run.user_ids), 8), torch.eye(len(run.item_ids), 8)), Generator())
        assert run.items is not None
        prompts = Prompts(lm, Cards(run.items, lm.tokens, CardConfig(history=4)), "films")
        work, taken = Tuning(run, model, prompts, CONFIG, 8), []
        whole = tuning.step

        def counted(*args):
            if len(taken) == stop:
                raise KeyboardInterrupt
            taken.append(0)
            clock[0] += 1
            return whole(*args)

        monkeypatch.setattr(tuning, "step", counted)
        try:
            work.learn()
        finally:
            monkeypatch.setattr(tuning, "step", whole)
        seconds.append(work.cpu_seconds)
        return {name: tensor.clone() for name, tensor in model.tensors().items()}

    straight = made(own_run, None)
    for name in tuning.CHECKPOINTS:
        (own_run.folder / name).unlink()
    for stop in (3, 5):  # in the first stage, and then in the second
        with pytest.raises(KeyboardInterrupt):
            made(own_run, stop)
    resumed = made(own_run, None)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert seconds == [10, 10]  # what was done again after a stop counts once


def test_titles_that_tell_the_taste_are_learnt(llama) -> None:
    """The kind of an item stands in its title, and users like the kind they had."""
    lm, random = llama(), np.random.default_rng(0)
    kind = np.arange(40) % 2
    catalog = Catalog(
        pl.DataFrame({"title": [("zzz", "qqq")[k] + f" {i % 7}" for i, k in enumerate(kind)]}), ("title",)
    )
    prompts = Prompts(lm, Cards(catalog, lm.tokens, CardConfig(history=3)), "films")
    model = TunedModel(lm, 4, None, Generator().manual_seed(0))
    scorer = TunedScorer(model, prompts, None, "x")
    optimizer = torch.optim.AdamW([*model.adapters().values(), *model.head.parameters()], lr=1e-2)

    def window() -> TrainingWindow:
        mine = int(random.integers(2))
        own, others = (random.permutation(np.flatnonzero((kind == mine) == same)).tolist() for same in (True, False))
        return TrainingWindow(0, Past(tuple(own[1:4])), (own[0], *others[:3]))

    losses = [tuning.step(model, scorer, [window() for _ in range(6)], optimizer) for _ in range(120)]
    assert np.mean(losses[:5]) == pytest.approx(np.log(4), abs=0.2)
    assert np.mean(losses[-10:]) < 0.5
    assert model.soft is None


def test_every_kind_is_tuned_in_all_its_layers_and_reads_as_it_did(every_folder: Path) -> None:
    lm = LocalLM(every_folder, "tiny@1", torch.device("cpu"), trainable=True)
    model = TunedModel(lm, 2, None, Generator().manual_seed(0))
    prefix, blocks = [*lm.start, *lm.tokens("I liked")], [lm.tokens(" A film"), lm.tokens("x")]
    untuned = lm.log_probs([prefix], [blocks])[0]
    torch.nn.init.normal_(model.head.weight, generator=Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.adapters().values(), lr=0.1)
    for _ in range(2):  # one half of an adapter begins at zero, so that the other learns from the second step on only
        optimizer.zero_grad()
        (-model.scores([prefix], [blocks])[0].log_softmax(0)[1]).backward()
        assert all(weight.grad is not None for weight in model.adapters().values())
        optimizer.step()
    layers = {name.partition(".lora_")[0] for name, weight in model.adapters().items() if weight.grad.any()}
    targets = ["qkv_proj"] if lm.model.config.model_type == "phi3" else ["q_proj", "v_proj"]
    assert layers == {f"model.layers.{n}.self_attn.{name}" for n in range(2) for name in targets}
    tuned, scores = lm.log_probs([prefix], [blocks])[0], model.scores([prefix], [blocks])[0].detach()
    assert np.abs(tuned - untuned).min() > 1e-3
    model.only_to_read()
    assert lm.log_probs([prefix], [blocks])[0] == pytest.approx(tuned, abs=1e-4)
    assert torch.allclose(model.scores([prefix], [blocks])[0], scores, atol=1e-4)


def test_a_tuned_model_is_kept_and_judges_as_it_did(own_run: Run, llama, llama_folder) -> None:
    said: list[str] = []
    facts = tune(own_run, llama(), LLM, CONFIG, said.append)
    assert set(facts.controls) == {"real", "text", "zero", "shuffled", "another user's"}
    assert facts.soft == matters(facts.controls)
    assert [line.split(":")[0] for line in said] == ["adapters", "soft tokens"]
    assert read_tuned(own_run) == facts
    assert not [path for path in own_run.folder.iterdir() if "checkpoint" in path.name]
    asked = ([Past((1, 2))], [[4, 5, 6, 7]], [3])
    first, again = (open_tuned(own_run, facts, llama(), None) for _ in range(2))
    values = first.score(*asked)[0]
    assert np.ptp(values) > 0
    assert again.score(*asked)[0] == pytest.approx(values, abs=1e-6)
    turned = first.score([Past((1, 2))], [[7, 6, 5, 4]], [3])[0]
    assert turned[::-1] == pytest.approx(values, abs=1e-4)
    with pytest.raises(UserError, match=f"{FILE}: there is a tuned language model already"):
        tune(own_run, llama(), LLM, CONFIG)
    other = LocalLM(llama_folder, "tiny@2", torch.device("cpu"), trainable=True)
    with pytest.raises(UserError, match="was tuned from tiny@1, found tiny@2"):
        open_tuned(own_run, facts, other, None)


def test_what_is_tuned_for_an_encrypted_run_is_encrypted(encrypted_run: Run, llama) -> None:
    facts = tune(encrypted_run, llama(), LLM, CONFIG)
    assert read_tuned(encrypted_run) == facts
    assert np.ptp(open_tuned(encrypted_run, facts, llama(), None).score([Past((1, 2))], [[4, 5, 6, 7]], [3])[0]) > 0
    plain = [path.name for path in encrypted_run.folder.iterdir() if not is_sealed(path.read_bytes())]
    assert plain == ["data-keys.json"]


def test_soft_tokens_move_the_scores_of_a_kept_model(own_run: Run, llama) -> None:
    facts = tune(own_run, llama(), LLM, CONFIG)
    asked = ([Past((1, 2))], [[4, 5, 6, 7]], [3])
    with_soft, without = (
        open_tuned(own_run, replace(facts, soft=soft), llama(), None).score(*asked)[0] for soft in (True, False)
    )
    assert with_soft != pytest.approx(without, abs=1e-6)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [("windows", 0, "1 or more"), ("soft_windows", -1, "0 or more"), ("lr", 0.0, "above 0, at most 1")],
)
def test_settings_that_cannot_be_are_refused(key: str, value: float, allowed: str) -> None:
    with pytest.raises(UserError, match=f"tune.{key}: found {value}; allowed: {allowed}"):
        TuneConfig(**{key: value})


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"provider": "openai", "model": "x"}, "llm.provider: found 'openai'; allowed with tune: local"),
        ({"scorer": "letters"}, "llm.scorer: found 'letters'; allowed with tune: none, or tuned"),
    ],
)
def test_what_is_not_learnt_here_is_refused(settings: dict[str, str], wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        check_settings(LLMConfig(**settings))  # type: ignore[arg-type]


def test_a_model_without_embeddings_is_tuned_on_the_text_alone(
    tiny_runs: dict[str, Path], llama, tmp_path: Path
) -> None:
    run = Run.load(shutil.copytree(tiny_runs["popularity"], tmp_path / "run"))
    facts = tune(run, llama(), LLM, CONFIG)
    assert not facts.projectors and not facts.soft and facts.controls == {}
    scorer = open_tuned(run, facts, llama(), None)
    assert scorer.soft is None
    assert np.isfinite(scorer.score([Past((1,))], [[2, 3]], [0])[0]).all()


def test_of_somebody_new_the_soft_token_says_nothing(own_run: Run, llama) -> None:
    facts = tune(own_run, llama(), LLM, CONFIG)
    scorer = open_tuned(own_run, replace(facts, soft=True), llama(), None)
    assert scorer.soft is not None
    tokens = [scorer.past(user, Past((1,)))[len(scorer.prompts.model.start)] for user in (-1, 0, 1)]
    assert tokens == [scorer.soft.nobody(), scorer.soft.user(0), scorer.soft.user(1)]
    assert np.isfinite(scorer.score([Past((1,))], [[2, 3]], [-1])[0]).all()


def test_a_run_without_validation_has_no_controls_and_no_soft_tokens(own_run: Run, llama) -> None:
    own_run.__dict__["val"] = replace(
        own_run.val, **{name: getattr(own_run.val, name)[:0] for name in ("user", "item")}
    )
    facts = tune(own_run, llama(), LLM, CONFIG)
    assert facts.projectors and not facts.soft and facts.controls == {}
