"""Queries in two languages: how many of the ten best are of the kind that was asked for.

    python scripts/bench/books.py runs/books0 runs/books1 …    # of data/books, by seeds
    python scripts/bench/books.py --centring                   # by content alone; what chose the treatment of requests

The covers and the log of data/books are made up, so the first is a check of the way from query to list, no accuracy.
How many directions are taken from a request was chosen on movies, whose genres people wrote; books came after.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rows import row, save

from gnnrec.datasets import Dataset
from gnnrec.encoders import EncodersConfig, encode_catalog
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.requests import Requests
from gnnrec.errors import count
from gnnrec.recommend import Recommender
from gnnrec.vectors import unit_length

DATA = Path(__file__).parents[2] / "data"
NAMED = ("深度学习", "人工智能：一种现代的方法")  # the titles of the textbook's example
ASKED = {  # kind of book -> a free query in Chinese and in English, and its name in both
    "technology": ("我想学习编程和人工智能", "how computers and software are built", "科技", "technology"),
    "cooking": ("我想学做饭", "recipes for cooking at home", "烹饪", "cooking"),
    "history": ("想了解中国古代的历史", "a history of ancient Rome", "历史", "history"),
    "economics": ("怎样投资理财和管理公司", "how markets and money work", "经济", "economics"),
    "philosophy": ("有没有讲哲学思想的书", "what is the good life, philosophers on ethics", "哲学", "philosophy"),
    "medicine": ("关于疾病和医生的书", "diseases and how doctors treat patients", "医学", "medicine"),
    "sports": ("我喜欢跑步和打球", "a book on football and tennis players", "体育", "sports"),
    "art": ("想学画画，了解美术", "painting and drawing", "艺术", "art"),
    "children": ("给孩子看的童话故事", "stories for small children", "儿童", "children"),
    "novel": ("想看一部爱情小说", "a classic love story novel", "小说", "novels"),
    "travel": ("旅行游记", "journeys to far countries", "旅行", "travel"),
    "science": ("物理和生物的科普读物", "popular science about physics and biology", "科学", "science"),
    "psychology": ("想了解人的心理", "how the human mind decides", "心理", "psychology"),
    "poetry": ("诗歌", "a book of poems", "诗歌", "poetry"),
}
GENRES = {
    "Action": ("动作", "action"),
    "Adventure": ("冒险", "adventure"),
    "Animation": ("动画", "animated"),
    "Children": ("儿童", "children's"),
    "Comedy": ("喜剧", "comedy"),
    "Crime": ("犯罪", "crime"),
    "Documentary": ("纪录", "documentary"),
    "Drama": ("剧情", "drama"),
    "Fantasy": ("奇幻", "fantasy"),
    "Horror": ("恐怖", "horror"),
    "Musical": ("音乐剧", "musical"),
    "Mystery": ("悬疑", "mystery"),
    "Romance": ("爱情", "romance"),
    "Sci-Fi": ("科幻", "science fiction"),
    "Thriller": ("惊悚", "thriller"),
    "War": ("战争", "war"),
    "Western": ("西部", "western"),
}
FILMS = (
    ("{}片", "我喜欢看{}类的电影。", "请推荐几部好看的{}电影"),
    ("{}", "I like to watch {} films.", "Can you recommend a good {} movie?"),
)
READING = (
    ("我喜欢阅读{}类的书籍。", "请推荐几本{}方面的好书"),
    ("I like to read books about {}.", "Can you recommend a good {} book?"),
)
EXAMPLE = READING[0][0].format("科技")
Vectors = NDArray[np.floating]


def share(found: Sequence[bool], there: int, k: int = 10) -> float:
    """Of the k best, or of as many as there are of the kind."""
    return sum(found[:k]) / min(k, there)


def ask(folders: Sequence[Path]) -> None:
    """Free and uniform queries by kind, and the example by what it is made of; means over the runs."""
    items = pl.read_csv(DATA / "books/items.csv")
    kinds = dict(items.select("item", "kind").iter_rows())
    sizes = dict(items["kind"].value_counts().iter_rows())
    cover, talk = (DATA / "books/query" / name for name in ("cover.jpg", "talk.ogg"))
    ways = {"text": {}, "text, cover": {"image": cover}, "text, cover, speech": {"image": cover, "audio": talk}}
    began = monotonic()
    subjects: dict[str, list[dict[str, float]]] = {kind: [] for kind in ASKED}
    example: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    seeds = []
    for folder in folders:
        recommender = Recommender.load(folder)
        seeds.append(recommender.run.recipe.train.seed)
        for kind, (chinese, english, *names) in ASKED.items():
            uniform = [READING[language][0].format(name) for language, name in enumerate(names)]
            queries = {"zh": chinese, "en": english, "zh uniform": uniform[0], "en uniform": uniform[1]}
            subjects[kind].append(
                {
                    name: share(
                        [kinds[place.id] == kind for place in recommender.recommend_query(text=query)], sizes[kind]
                    )
                    for name, query in queries.items()
                }
            )
        for way, more in ways.items():
            found = recommender.recommend_query(text=EXAMPLE, k=20, **more)
            places = {title: next((place.rank for place in found if place.title == title), 99) for title in NAMED}
            technical = share([kinds[place.id] == "technology" for place in found], sizes["technology"])
            example[way].append({"technical": technical} | places)
    seconds = monotonic() - began
    save(
        "books",
        [
            row("books", kind, seeds, values, seconds, table="subjects", queries=ASKED[kind][:2])
            for kind, values in subjects.items()
        ]
        + [row("books", way, seeds, values, seconds, table="example") for way, values in example.items()],
    )


def treatments(
    items: Vectors, encoder: Requests
) -> dict[str, tuple[Callable[[Vectors], Vectors], Callable[[Vectors], Vectors]]]:
    """Name -> what is done to items and to queries before their cosine."""
    mean, scale = items.mean(axis=0), items.std(axis=0)
    made: dict[str, tuple[Callable[[Vectors], Vectors], Callable[[Vectors], Vectors]]] = {
        "both standardized by the items": (lambda x: (x - mean) / scale, lambda q: (q - mean) / scale),
        "both centred by the items": (lambda x: x - mean, lambda q: q - mean),
    }
    for number in (0, 1, 2, 3, 5, 8):
        directions = encoder.directions[:number]

        def asked_for(q: Vectors, directions: Vectors = directions) -> Vectors:
            return (q - encoder.mean) - (q - encoder.mean) @ directions.T @ directions

        made[f"queries centred by requests, {count(number, 'direction')} out"] = (lambda x: x - mean, asked_for)
    return made


def centring() -> None:
    """Content alone, on movies and books: free of log and training."""
    encoder = open_encoder("text", "use")
    common = Requests(encoder, directions=8)
    rows = []
    for name, column, words, carriers in (
        ("movies", "genres", GENRES, FILMS),
        ("books", "kind", {kind: asked[2:] for kind, asked in ASKED.items()}, READING),
    ):
        began, data = monotonic(), Dataset.load(DATA / name)
        items = encode_catalog(data.items, EncodersConfig(image="none"))["text"].values
        assert data.items is not None
        own = [set(kinds.split("|")) for kinds in data.items.table[column]]
        asked = [
            (language, kind, carrier.format(terms[place]))
            for place, language in enumerate(("zh", "en"))
            for carrier in carriers[place]
            for kind, terms in words.items()
        ]
        queries = np.concatenate([encoder.encode([query]) for *_, query in asked])  # [n, d]
        for how, (of_items, of_queries) in treatments(items, common).items():
            scores = unit_length(of_queries(queries)) @ unit_length(of_items(items)).T  # [n, I]
            found = [
                share([kind in own[item] for item in np.argsort(-line)[:10]], sum(kind in kinds for kinds in own))
                for line, (_, kind, _) in zip(scores, asked)
            ]
            spoken = np.array([language for language, *_ in asked])
            metrics = {language: float(np.mean(np.array(found)[spoken == language])) for language in ("zh", "en")}
            rows.append(row(name, how, [0], [metrics], monotonic() - began, table="centring", queries=len(asked)))
            print(name, how, metrics)
    save("books", rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path, nargs="*")
    parser.add_argument("--centring", action="store_true")
    options = parser.parse_args()
    if options.centring:
        centring()
    if options.run:
        ask(options.run)


if __name__ == "__main__":
    main()
