"""Encoders fitted here: what they give is what the method says, and the folder is all they need."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from gnnrec.arguments import ENCODER_KINDS
from gnnrec.cli import main
from gnnrec.datasets import Dataset, Interactions
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.features import Features
from gnnrec.encoders.fitted.corpus import Corpus, content_ndcg
from gnnrec.encoders.fitted.kinds import KINDS
from gnnrec.encoders.fitted.lsa import LsaConfig, fit_lsa
from gnnrec.errors import UserError
from gnnrec.fitting import fit_encoder
from gnnrec.pipeline import check_encoders, learnt_from
from gnnrec.recipe import Recipe, load_recipe

ALL = "lsa, recurrent, compact, distilled, word_vectors, finetuned"  # kinds
ANIMALS, MACHINES = "cat dog horse", "engine piston gear"
TEXTS = [f"{ANIMALS} {place % 3}x" for place in range(6)] + [f"{MACHINES} {place % 3}y" for place in range(6)]


def corpus_of(texts: list[str | None]) -> Corpus:
    none = Interactions(user=np.zeros(0, np.int32), item=np.zeros(0, np.int32), num_users=1, num_items=len(texts))
    return Corpus(contents=texts, train=none, val=none, device=torch.device("cpu"), audio_seconds=30)


def fitted(folder: Path, texts: list[str | None], config: LsaConfig) -> Path:
    folder.mkdir()
    fit_lsa(corpus_of(texts), config, folder)
    (folder / "encoder.json").write_text(json.dumps({"kind": "lsa", "modality": "text"}))
    return folder


def test_lsa_is_the_truncated_svd_of_tfidf(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in random.integers(9, size=6)) for _ in range(30)]
    encoder = open_encoder("text", str(fitted(tmp_path / "lsa", texts, LsaConfig(dim=3))))
    weights = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2).fit_transform(texts)
    expected = TruncatedSVD(3, algorithm="arpack", random_state=0).fit_transform(weights)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = encoder.encode(texts)
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-3)  # the same but for signs of the axes


def test_lsa_tells_two_topics_apart_in_texts_it_never_saw(tmp_path: Path) -> None:
    encoder = open_encoder("text", str(fitted(tmp_path / "lsa", TEXTS, LsaConfig(dim=4))))
    animal, machine, other = encoder.encode(["a horse and a dog", "piston of an engine", "nothing known"])
    known = encoder.encode([ANIMALS])[0]
    assert known @ animal > 0.7 > 0.2 > abs(known @ machine)
    assert not other.any()


def test_lsa_of_letters_reads_scripts_without_spaces(tmp_path: Path) -> None:
    texts = ["深度学习入门", "机器学习与深度学习", "家常菜谱大全", "川菜菜谱"] * 2
    encoder = open_encoder("text", str(fitted(tmp_path / "lsa", texts, LsaConfig(dim=3, letters=True))))
    query, learning, cooking = encoder.encode(["深度学习", "机器学习", "菜谱"])
    assert query @ learning > query @ cooking + 0.3


def test_lsa_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="encoder.rarest: no term is in 3 texts"):
        fit_lsa(corpus_of(["one", "two", "three", None]), LsaConfig(rarest=3), tmp_path)


def test_content_alone_finds_what_is_like_the_past() -> None:
    """Two kinds of items; each user had one of a kind and validation holds another one of it."""
    values = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
    log = {"num_users": 2, "num_items": 8}
    train = Interactions(user=np.array([0, 1], np.int32), item=np.array([0, 4], np.int32), **log)
    near = Interactions(user=np.array([0, 1], np.int32), item=np.array([1, 5], np.int32), **log)
    far = Interactions(user=np.array([0, 1], np.int32), item=np.array([7, 3], np.int32), **log)
    features = Features(values=values, mask=np.ones(8, bool), encoder="made")
    corpus = Corpus(contents=["x"] * 8, train=train, val=near, device=torch.device("cpu"), audio_seconds=30)
    assert content_ndcg(features, corpus) == 1.0  # equal scores: the lowest index first
    # three of the same kind stand before it, then three of the other kind with lower indexes or none
    ranks = np.array([7, 7])
    assert content_ndcg(features, replace(corpus, val=far)) == pytest.approx((1 / np.log2(ranks + 1)).mean())


def test_the_help_names_the_kinds() -> None:
    assert tuple(KINDS) == ENCODER_KINDS and ", ".join(ENCODER_KINDS) == ALL


def test_the_command_makes_a_folder_that_train_takes(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lsa"
    command = ["fit-encoder", str(tiny_data), "--kind", "lsa", "--out", str(out)]
    arguments = [*command, "--set", "encoder.dim=4", "encoders.text=none", "augment.token_dropout=0.5", "--json"]
    assert main(arguments) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["settings"]["dim"] == 4 and list(made["ndcg@10"]) == [str(out)]
    kept = json.loads((out / "encoder.json").read_text())
    assert kept["kind"] == "lsa" and kept["augment"]["token_dropout"] == 0.5
    assert main(arguments) == 2  # never written over
    assert "there is something already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--kind", "nonsense"],
            f"fit-encoder --kind: found 'nonsense'; allowed: {ALL}",
        ),
        (["--kind", "lsa", "--set", "encoder.dim=0"], "encoder.dim: found 0; allowed: 1 or more"),
        (["--kind", "lsa", "--set", "encoder.colour=1"], "unknown key 'colour'"),
        (["--kind", "finetuned", "--set", "augment.crop=2"], "augment.crop: found 2.0; allowed: 0 to 0.95"),
        (["--kind", "compact", "--set", "encoder.base=use"], "encoder.base: found use; allowed: minilm, or a text"),
        (["--kind", "distilled", "--set", "encoder.base=musicnn"], "encoder.base: found musicnn; allowed: minilm, or"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    arguments: list[str], said: str, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit-encoder", str(tiny_data), "--out", str(tmp_path / "new"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_folder_of_another_modality_or_kind_is_refused(tmp_path: Path) -> None:
    folder = fitted(tmp_path / "lsa", TEXTS, LsaConfig(dim=3))
    with pytest.raises(UserError, match=r"encoders.image: found .*lsa, an encoder of text"):
        open_encoder("image", str(folder))
    (folder / "encoder.json").write_text('{"kind": "magic", "modality": "text"}')
    with pytest.raises(UserError, match=f"found kind 'magic'; allowed: {ALL}"):
        open_encoder("text", str(folder))
    (folder / "encoder.json").write_text("[")
    with pytest.raises(UserError, match=r"encoder.json: cannot be read"):
        open_encoder("text", str(folder))
    (folder / "encoder.json").write_text('{"kind": "lsa", "modality": "text"}')
    (folder / "terms.json").unlink()
    with pytest.raises(UserError, match="cannot be opened"):
        open_encoder("text", str(folder))


def test_what_learnt_this_log_from_other_train_rows_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    dataset, recipe = Dataset.load(tiny_data), Recipe()
    folder = fitted(tmp_path / "lsa", TEXTS, LsaConfig(dim=3))
    facts = {"kind": "lsa", "modality": "text", "learnt_from": learnt_from(dataset, recipe)}
    (folder / "encoder.json").write_text(json.dumps(facts))
    set_encoder = f"encoders.text={folder}"
    check_encoders(dataset, load_recipe(None, [set_encoder]))
    with pytest.raises(UserError, match=r"learnt this log with split.seed = 0, .* found 7; allowed: the same split"):
        check_encoders(dataset, load_recipe(None, [set_encoder, "split.seed=7"]))
    facts["learnt_from"]["data"] = "of another dataset"
    (folder / "encoder.json").write_text(json.dumps(facts))
    check_encoders(dataset, load_recipe(None, [set_encoder, "split.seed=7"]))


def test_the_guard_finds_the_folder_that_is_opened(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, folder = Dataset.load(tiny_data), fitted(tmp_path / "lsa", TEXTS, LsaConfig(dim=3))
    facts = {"kind": "lsa", "modality": "text", "learnt_from": learnt_from(dataset, Recipe())}
    (folder / "encoder.json").write_text(json.dumps(facts))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_encoder("text", "~/lsa").dim == 3
    with pytest.raises(UserError, match="~/lsa learnt this log"):
        check_encoders(dataset, load_recipe(None, ["encoders.text=~/lsa", "split.seed=7"]))
    monkeypatch.chdir(folder)  # its encoder.json is no business of a modality that has no encoder
    check_encoders(dataset, load_recipe(None, ["encoders.text=none", "split.seed=7"]))


def test_the_same_contents_give_the_same_encoder(tiny_data: Path, tmp_path: Path) -> None:
    dataset, recipe = Dataset.load(tiny_data), load_recipe(None, ["encoders.text=none"])
    for name in ("one", "two"):
        fit_encoder(dataset, tmp_path / name, "lsa", LsaConfig(dim=4), recipe=recipe)
    first, second = (open_encoder("text", str(tmp_path / name)).encode(TEXTS) for name in ("one", "two"))
    assert np.array_equal(first, second)
