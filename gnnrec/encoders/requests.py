"""What requests have in common, whatever is asked for. A query is such a sentence, the text of an item is none."""

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.features import Encoder

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


def mean_request(encoder: Encoder) -> NDArray[np.float32]:
    """The mean of REQUESTS as an encoder of text gives them. [d]

    To a query what the mean of the catalogue is to an item: "I like to read books about" is near to every book about
    reading, whatever comes after it. Subtracting means by domain is as old as latent semantic indexing across
    languages; that of contentless requests follows contextual calibration (Zhao et al. 2021, arXiv:2102.09690), which
    takes from a language model's answer what it says to an empty question.
    """
    mean: NDArray[np.float32] = encoder.encode(REQUESTS).mean(axis=0)
    return mean
