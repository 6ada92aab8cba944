"""What requests have in common, whatever is asked for. A query is such a sentence, the text of an item is none."""

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.features import Encoder

DIRECTIONS = 2  # by default; chosen by queries for genres of movies (scripts/bench/books.py)
# Of one subject each, all different, so that their mean is none of them; as many in one language as in the other.
REQUESTS = (
    "I like watching films about the war.",
    "Show me something like this.",
    "I am looking for a present for my mother.",
    "Which songs are good for dancing?",
    "I want to buy shoes for the winter.",
    "Can you recommend a course on statistics?",
    "I enjoy reading novels.",
    "Please suggest something for the evening.",
    "What should I read next about gardening?",
    "I would like to listen to quiet music.",
    "Do you have anything with animals?",
    "Find me a funny film for the family.",
    "I love stories set at sea.",
    "Something about love, please.",
    "I'm interested in the life of painters.",
    "Give me a few good books on money.",
    "我喜欢看战争题材的电影。",
    "给我看看类似的东西。",
    "我想给妈妈买一件礼物。",
    "有哪些适合跳舞的歌曲？",
    "我想买冬天穿的鞋子。",
    "请推荐一门统计学的课程。",
    "我爱读小说。",
    "推荐一些晚上看的内容。",
    "接下来我该读什么园艺书？",
    "我想听安静的音乐。",
    "有没有关于动物的作品？",
    "帮我找一部适合全家看的喜剧片。",
    "我喜欢发生在海上的故事。",
    "想看点关于爱情的。",
    "我对画家的生平感兴趣。",
    "给我几本讲理财的好书。",
)


class Requests:
    """What an encoder of text makes of REQUESTS: their mean, and the directions in which they differ most.

    To a query these are what the mean of the catalogue is to an item: "I like to read books about" is near to every
    book about reading, whatever comes after it. To take from an answer what an empty question is answered follows
    contextual calibration (Zhao et al. 2021, arXiv:2102.09690); to take directions out beside the mean,
    all-but-the-top (Mu and Viswanath 2018, arXiv:1702.01417), there of the words themselves.
    """

    def __init__(self, encoder: Encoder, directions: int = DIRECTIONS) -> None:
        values = encoder.encode(REQUESTS)
        self.mean: NDArray[np.float32] = values.mean(axis=0)  # [d]
        axes = np.linalg.svd(values - self.mean, full_matrices=False)[2]
        self.directions: NDArray[np.float32] = axes[:directions]  # of length 1, at right angles

    def taken_from(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows as encoded -> what they ask for, around 0. [n, d]"""
        centred = rows - self.mean
        return np.asarray(centred - centred @ self.directions.T @ self.directions, dtype=np.float32)
