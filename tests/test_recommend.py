"""Lists for known users, known items and ad-hoc queries, in Chinese too, with a real text encoder."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from gnnrec.datasets import Dataset, SplitConfig, split
from gnnrec.errors import UserError
from gnnrec.models import model_scorer
from gnnrec.pipeline import train
from gnnrec.ranking import top_k
from gnnrec.recipe import load_recipe
from gnnrec.recommend import Recommender
from gnnrec.run_folder import LISTED, Run

CATALOGUE = {
    "technology": (
        "A book about computers and programming",
        "The history of the internet, a technology book",
        "Artificial intelligence explained: a popular science book",
        "How microchips are made: a book on engineering",
        "A reader on robots, software and modern technology",
    ),
    "cooking": (
        "Italian recipes for pasta and pizza",
        "Baking bread and cakes at home",
        "A cookbook of vegetable soups",
        "Grilling meat and fish in summer",
        "Desserts: chocolate, cream and fruit",
    ),
    "romance": (
        "A film about two lovers in Paris",
        "She falls in love with her best friend, a romantic comedy",
        "A wedding film with a happy ending",
        "Love letters: a romantic drama film",
        "A couple meets again after many years, film",
    ),
    "horror": (
        "A film about zombies that attack a city",
        "A haunted house kills its guests, horror film",
        "Vampires and blood: a scary movie",
        "A monster in the dark forest, thriller film",
        "The murderer with the mask, a horror movie",
    ),
}
COLD = "A haunted house kills its guests, horror film"  # nobody ever took it


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Sixty users, each with a liking for one shelf of a tiny catalogue of books and films, and its recommender."""
    folder = tmp_path_factory.mktemp("shop") / "data"
    folder.mkdir()
    titles = [title for shelf in CATALOGUE.values() for title in shelf]
    pl.DataFrame({"item": [f"i{row}" for row in range(len(titles))], "title": titles}).write_csv(folder / "items.csv")
    random = np.random.default_rng(0)
    rows = []
    for user in range(60):
        shelf = user % 4 * 5
        liked = [item for item in random.permutation(np.arange(shelf, shelf + 5)) if titles[item] != COLD][:4]
        rows += [(f"u{user}", f"i{item}", 1000 * user + step) for step, item in enumerate(liked)]
        rows.append((f"u{user}", f"i{random.choice([item for item in range(20) if titles[item] != COLD])}", 0))
    log = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").unique(["user", "item"])
    log.write_csv(folder / "interactions.csv")
    (folder / "dataset.toml").write_text(
        '[interactions]\npath = "interactions.csv"\nuser = "user"\nitem = "item"\ntimestamp = "time"\n'
        '[items]\npath = "items.csv"\nid = "item"\ntext = ["title"]\n'
    )
    recipe = load_recipe(overrides=["train.epochs=40", "train.patience=40", "model.dim=32", "graph.neighbors=3"])
    return Recommender(train(Dataset.load(folder), folder.parent / "run", recipe))


def shelf_of(title: str | None) -> str:
    return next(shelf for shelf, titles in CATALOGUE.items() if title in titles)


def test_a_query_in_any_language_finds_the_shelf(shop: Recommender) -> None:
    for query, shelf in (
        ("我喜欢阅读科技类的书籍。", "technology"),  # I like reading books about technology.
        ("I want to bake something sweet", "cooking"),
        ("恐怖电影", "horror"),  # horror film
        ("Eine Liebesgeschichte", "romance"),
    ):
        found = shop.recommend_query(text=query, k=3)
        assert [item.rank for item in found] == [1, 2, 3]
        assert found[0].score >= found[1].score >= found[2].score
        assert shelf_of(found[0].title) == shelf, query
        # Whom a new item like that is for: users who know nearly all of that shelf.
        for user in shop.users_for_query(text=query, k=3):
            unknown = {item.title for item in shop.recommend(user.id, k=20)}
            assert len(set(CATALOGUE[shelf]) - unknown) >= 3, query


def test_the_text_of_an_item_finds_that_item(shop: Recommender) -> None:
    assert COLD in shop.titles
    for title in shop.titles:
        assert shop.recommend_query(text=title, k=1)[0].title == title


def test_known_users_get_what_they_do_not_know(shop: Recommender) -> None:
    run = shop.run
    matrix = run.known.matrix().toarray() > 0
    scores = model_scorer(run.model, run.known_graph)(torch.arange(len(run.user_ids))).detach().numpy()
    hits = 0
    parts = split(Dataset.load(run.provenance["dataset"]["path"]), SplitConfig(**run.recipe.split))
    for user in range(0, len(run.user_ids), 7):
        found = shop.recommend(run.user_ids[user], k=25)
        indexes = [run.item_ids.index(item.id) for item in found]
        assert not matrix[user, indexes].any() and len(found) == 20 - matrix[user].sum()
        np.testing.assert_allclose([item.score for item in found], -np.sort(-scores[user, ~matrix[user]]), atol=1e-6)
        assert [item.title for item in found] == [shop.titles[index] for index in indexes]
        history = shop.history(run.user_ids[user], k=2)
        times = run.known.timestamp[run.known.user == user]
        last = run.known.item[run.known.user == user][np.argsort(times, kind="stable")][::-1][:2]
        assert [item.id for item in history] == [run.item_ids[item] for item in last]
        hits += parts.test.item[parts.test.user == user][0] in indexes[:3]
    assert hits >= 5  # of nine whose last item was held out


def test_served_lists_are_those_of_the_rebuilt_model(
    shop: Recommender, planted_run: Run, planted_folder: Path, tmp_path: Path
) -> None:
    linear = [train(Dataset.load(planted_folder), tmp_path / name, load_recipe(name)) for name in ("ease", "lightgcn")]
    assert [run.ranks_by_embeddings for run in linear] == [False, True]
    for run in (shop.run, planted_run, *linear):
        again = Run.load(run.folder)
        scorer = model_scorer(again.model, again.known_graph)  # the graph and the model, not the saved embeddings
        expected = top_k(scorer, np.arange(len(run.user_ids)), 10, again.known.matrix())
        recommender = Recommender.load(run.folder)
        for user, items, scores in zip(run.user_ids, expected.items.tolist(), expected.scores):
            served = recommender.recommend(user, 10)
            assert [run.item_index(place.id) for place in served] == [item for item in items if item >= 0]
            np.testing.assert_allclose([place.score for place in served], scores[: len(served)], rtol=1e-5, atol=1e-6)
            assert served == Recommender.load(run.folder).recommend(user, 10)  # bit for bit the same every time


def test_a_known_user_is_served_without_torch(planted_run: Run) -> None:
    """What keeps a cold start short: 0.6 s instead of 6."""
    code = """if True:
        import sys
        from gnnrec.cli import main
        folder, *arguments = sys.argv[1:]
        assert main(["recommend", folder, *arguments]) == 0
        assert not {"torch", "torch_geometric", "scipy", "transformers", "matplotlib"} & set(sys.modules)
    """
    for arguments in (["--user", planted_run.user_ids[0]], ["--item", planted_run.item_ids[0], "--json"]):
        subprocess.run(
            [sys.executable, "-c", code, str(planted_run.folder), *arguments], check=True, stdout=subprocess.DEVNULL
        )


def test_equal_scores_stand_in_the_order_of_the_index(planted_folder: Path, tmp_path: Path) -> None:
    everybody = Recommender(train(Dataset.load(planted_folder), tmp_path / "run", load_recipe("popularity")))
    run = everybody.run
    count = np.bincount(run.train.item, minlength=len(run.item_ids))
    had = set(run.known.item[run.known.user == 0].tolist())
    expected = sorted(set(range(len(count))) - had, key=lambda item: (-count[item], item))
    for k in (10, LISTED, LISTED + 1):  # from the saved list, all of it, and from the model
        assert [run.item_index(place.id) for place in everybody.recommend(run.user_ids[0], k)] == expected[:k]


def test_similar_items_stand_on_the_same_shelf_and_leave_the_item_out(shop: Recommender) -> None:
    shelves = []
    for index, name in enumerate(shop.run.item_ids):
        found = shop.similar_items(name, k=3)
        assert name not in [item.id for item in found] and len(found) == 3
        shelves.append(shelf_of(found[0].title) == shelf_of(shop.titles[index]))
    assert np.mean(shelves) > 0.8
    assert len(shop.similar_items(shop.run.item_ids[0], k=100)) == 19


def test_a_query_moves_nothing(shop: Recommender) -> None:
    before = shop.run.embeddings.item.clone()
    shop.recommend_query(text="a film")
    with torch.no_grad():
        again = shop.run.model(shop.run.known_graph).item
    torch.testing.assert_close(again, before, atol=1e-6, rtol=1e-5)
    assert shop.recommend_query(text="a film") == shop.recommend_query(text="a film")


def test_what_is_asked_wrongly_is_one_clear_line(shop: Recommender, planted_run: Run) -> None:
    with pytest.raises(UserError, match=r"no user with the id 'nobody'; there are 60, for example u"):
        shop.recommend("nobody")
    with pytest.raises(UserError, match=r"no item with the id 'u1'; there are 20, for example i"):
        shop.similar_items("u1")
    with pytest.raises(UserError, match="-k: found 0; allowed: 1 or more"):
        shop.recommend(shop.run.user_ids[0], k=0)
    with pytest.raises(UserError, match="--history: found no item; expected the id of one or more"):
        shop.recommend_history([])
    for empty in ({}, {"text": ""}, {"text": " \t "}):
        with pytest.raises(UserError, match="the query is empty; expected --user, --item, --text, --image or --audio"):
            shop.recommend_query(**empty)
    with pytest.raises(UserError, match="has no encoder of image for a query; allowed: text"):
        shop.recommend_query(image=Path("cover.jpg"))
    with pytest.raises(UserError, match="has no encoder of text for a query; allowed: none"):
        Recommender(planted_run).recommend_query(text="made elsewhere")


def test_a_model_that_cannot_place_content_says_so(planted_folder: Path, tmp_path: Path) -> None:
    ease = Recommender(train(Dataset.load(planted_folder), tmp_path / "ease", load_recipe("ease")))
    with pytest.raises(UserError, match="the model ease cannot place new content; modality_gnn and tower can"):
        ease.recommend_query(text="anything")
    with pytest.raises(UserError, match="the model ease scores without embeddings"):
        ease.similar_items(ease.run.item_ids[0])
    user = ease.run.user_ids[0]
    assert not {item.id for item in ease.recommend(user, k=60)} & {item.id for item in ease.history(user, k=60)}
