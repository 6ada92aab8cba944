# %% [markdown]
# # E-commerce: a shop's reviews, from the raw log to a served page
#
#     python scripts/examples/ecommerce.py DATA
#
# The data are reviews of luxury beauty products on Amazon (Ni, Li & McAuley 2019; 5-core, for research). They are not
# shipped. The folder DATA holds
#
# - `interactions.csv.gz`: user, item, rating (1 to 5), timestamp (unix seconds); one row a review
# - `items.csv.gz`: item, title, description, price; one row a product
# - `dataset.toml`: the names of these files and columns, see docs/data.md
#
# Everything is written into a new folder below `runs/`. It takes a minute on one core, the first time a little more to
# encode the descriptions. In a notebook say `sys.argv[1:] = ["DATA"]` in a cell before the first.

# %%
import numpy as np
import polars as pl
from steps import ask, data_folder, hide, judge, judge_new, keep, new_output, serving, tell, train_all, write_folder

from gnnrec import Dataset, Explainer, Recommender, clean, export_embeddings, inspect_folder, load_recipe, train
from gnnrec.tables import explanation_tables, facts_tables, findings_table, recommendations_table, table

folder, out = data_folder(), new_output("ecommerce")

# %% [markdown]
# ## The raw log
#
# Who reviews a product has bought it, so a review counts as a purchase whatever its stars. What else does a row say?

# %%
columns = ("user", "item", "rating", "timestamp")
log = pl.read_csv(folder / "interactions.csv.gz", columns=columns)
items = pl.read_csv(folder / "items.csv.gz", schema_overrides={"price": pl.String})
print(log.head(3), items.head(3), sep="\n")

# %% [markdown]
# Shops list one product many times, once for each shade or size, and reviews may be shown at all of them. Then one
# review is many rows: the same user, second and stars, and a product of the same title.

# %%
copies = ["user", "timestamp", "rating", "title"]
shared = log.join(items, on="item").filter(pl.struct(copies).is_duplicated())
print(f"{len(shared):,} of {len(log):,} rows are copies of one another, of {shared['title'].n_unique()} titles")

# %% [markdown]
# Left as they are, they make the task trivial: whoever has one shade "bought" the others in the same second, and a
# model is praised for finding them. We come back to what that is worth in figures.
#
# Reviews also have the date and no hour, so a user's reviews of one day stand in the order of the file, which here is
# that of the product ids. A split that holds out the last row would hold out high ids, and of the copies the same one
# for everybody. So rows are shuffled once; reading sorts them by time and leaves ties as they are.
#
# ## Cleaning
#
# `clean` finds what loads but is wrong, and writes a mended copy. By default it strips markup and merges products whose
# content is the same to the letter; `near-texts`, nearly the same, may be right and has to be named.

# %%
described = {
    "name": "shop",
    "interactions": {"user": "user", "item": "item", "timestamp": "timestamp", "rating": "rating"},
    "split": {"method": "leave_last"},
    "items": {"id": "item", "text": ["title", "description"]},
}
raw = write_folder(out / "raw", log.sample(fraction=1, shuffle=True, seed=0), items, described)
cleaning = clean(raw, to=out / "clean", kinds="html,duplicate-items,near-texts")
print(findings_table("the shop", cleaning.kinds(), cleaning.copied))

# %% [markdown]
# Merged products leave one user with the same product twice, and products of one title whose descriptions differ are
# still there: of one review, one row stays.

# %%
log = pl.read_csv(out / "clean" / "interactions.csv.gz")
items = pl.read_csv(out / "clean" / "items.csv.gz", schema_overrides={"price": pl.String})
once = log.join(items.select("item", "title"), on="item").unique(copies, keep="first", maintain_order=True)
log = once.drop("title").unique(["user", "item"], keep="first", maintain_order=True)
shop = write_folder(out / "shop", log, items, described)
facts, pictures = inspect_folder(shop, out / "plots")
print(facts_tables({name: facts[name] for name in ("log", "ratings", "content", "splits")}))

# %% [markdown]
# ## Split, train, measure
#
# In a shop one wants the next purchase, so of each user the last review is test and the one before it validation.
# Beside our model stand what a shop would try first: what sells best, what is bought together (`item_knn`), and a
# linear model of it (`ease`).

# %%
data = Dataset.load(shop)
settings = ["train.epochs=40"]
runs = train_all(data, out, settings)
found, text = judge(runs, "the next purchase")
print(text)

# %% [markdown]
# Each user has one right answer among all products, so values are small; differences and their intervals are what
# counts. Here the texts and the graph pay: most products have a dozen buyers or two, too few for the log alone. And the
# same baselines on the log as it came, with shades counted as products of their own:

# %%
flattered, text = judge(
    {name: train(Dataset.load(raw), out / f"raw_{name}", load_recipe(name)) for name in ("popularity", "item_knn")},
    "the log as it came",
)
print(text)

# %% [markdown]
# `item_knn` seems three times as good, and even `popularity` four times. Nothing has become better but the task easier:
# it is the copies that are found. Figures on such data in papers have to be read with that in mind, and so have
# these, as far as copies with differing titles are left.
#
# ## Price
#
# The model knows no price: titles and descriptions only. Does it meet what a user spends? Some price cells hold markup
# of the page instead of a price, some a range; those count as unknown.

# %%
price = items.select(pl.col("item").cast(pl.String), pl.col("price").str.extract(r"^\$([\d,.]+)$").str.replace(",", ""))
price_of = {name: float(value) for name, value in price.drop_nulls().iter_rows()}
run = runs["modality_gnn"]
recommender = Recommender(run)


def middle_price(places) -> float:
    """The median price of a list; NaN where none is known."""
    known = [price_of[place.id] for place in places if place.id in price_of]
    return float(np.median(known)) if known else np.nan


users = np.random.default_rng(0).permutation(data.user_ids)[:300]
spent = np.array([middle_price(recommender.history(user)) for user in users])
offered = {name: np.array([middle_price(Recommender(runs[name]).recommend(user)) for user in users]) for name in runs}
both = np.isfinite(spent) & np.all([np.isfinite(prices) for prices in offered.values()], axis=0)
third = np.searchsorted(np.nanquantile(spent, (1 / 3, 2 / 3)), spent)
print(
    table(
        ("users who spend", "had", *offered),
        [
            (name, *(float(np.median(prices[both & (third == place)])) for prices in (spent, *offered.values())))
            for place, name in enumerate(("least", "middling", "most"))
            if (both & (third == place)).any()
        ],
        f"median price in dollars, {int(both.sum())} users",
        numbers=("had", *offered),
    )
)

# %% [markdown]
# `popularity` offers everybody the same. Where a column rises with what was spent, the model meets a price level that
# it does not know. The baselines hardly do; ours does, though less than people differ: it is drawn to the middle.
#
# ## New products
#
# A fifth of the products lose all their rows, and for who bought one we look where it stands among them, by its texts
# alone. `chance` is one order for all, since popularity cannot tell products without buyers apart. `hindsight`, too, is
# one list for all, in the order of the hidden purchases: what a shop could show that knew the future, and nobody.

# %%
names = log["item"].unique().sort().to_list()
hidden = np.random.default_rng(0).permutation(names)[: len(names) // 5].tolist()
kinds = {**described, "interactions": described["interactions"] | {"split": "split"}, "split": {"method": "published"}}
cold = Dataset.load(write_folder(out / "with_new", hide(log, hidden), items, kinds))
cold_runs, found_new, text = judge_new(cold, out, "cold", hidden, "new products", epochs=10)
print(text)

# %% [markdown]
# What passes `hindsight` is personal: the texts say who will like a product, not only that many will.
#
# ## A user's list, and why

# %%
user = data.user_ids[np.bincount(data.interactions.user).argmax()]
best = recommender.recommend(user, k=10)
print("had last:", "; ".join(had.title or had.id for had in recommender.history(user, 5)))
print(recommendations_table(best, f"for user {user}"))
print(explanation_tables(Explainer(run).explain(user, best[0].id)))

# %% [markdown]
# The strongest pieces are what she had. The text of the product itself may even count against it, as a negative fall
# says: content helps most where the log is silent. Down the list the scores lie close together: those are guesses.
#
# A language model may reorder the ten: `gnnrec recommend RUN --user ID --rerank` (the extra `llm`). It stays off here,
# and where validation shows no gain its weight is 0 anyway; docs/words.md has the figures for these data.
#
# ## Out and served

# %%
files = export_embeddings(
    run.user_vectors, run.item_vectors, run.user_ids, run.item_ids, out / "exported", ("parquet", "npy")
)
print(*files, sep="\n")

# %%
with serving(run.folder) as url:
    print(url, ask(f"{url}/health")["status"])
    print(recommendations_table(recommender.recommend_query("a perfume that smells of roses", k=3), "asked in words"))
    before = ask(f"{url}/recommend", user=user, k=3)["items"]
    told = tell(f"{url}/feedback", user=user, item=before[0]["id"], rating=5)
    after = ask(f"{url}/recommend", user=user, k=3)["items"]
print("before:", [place["title"] for place in before])
print(f"after buying {told['item']}:", [place["title"] for place in after])

# %%
keep(out, {"next purchase": found, "the log as it came": flattered, "new products": found_new})
print(f"all of it is in {out}")
