# %% [markdown]
# # Social: which story will she talk about?
#
#     python scripts/examples/social.py DATA
#
# The data are comments under stories of Hacker News in 2017 (MIT). They are not shipped. The folder DATA holds
#
# - `interactions.csv.gz`: user, item, count; who commented which story, with repeated pairs
# - `items.csv.gz`: item, title, score, poster; one row a story
# - `dataset.toml`: the names of these files and columns, see docs/data.md
#
# Everything is written into a new folder below `runs/`. It takes two minutes on one core. In a notebook say
# `sys.argv[1:] = ["DATA"]` in a cell before the first.

# %%
import numpy as np
import polars as pl
from steps import ask, data_folder, hide, judge, judge_new, keep, new_output, serving, tell, train_all, write_folder

from gnnrec import Dataset, Explainer, Recommender, clean, export_embeddings, inspect_folder
from gnnrec.tables import cohorts_table, explanation_tables, facts_tables, findings_table, recommendations_table, table

folder, out = data_folder(), new_output("social")

# %% [markdown]
# ## The raw log
#
# A count of comments per user and story, some pairs in several rows. They are summed: one row a pair.

# %%
raw = pl.read_csv(folder / "interactions.csv.gz", schema_overrides={"user": pl.String})
items = pl.read_csv(folder / "items.csv.gz")
log = raw.group_by("user", "item", maintain_order=True).agg(pl.col("count").sum().alias("comments"))
print(f"{len(raw):,} rows, {len(log):,} pairs")
print(log["comments"].value_counts(sort=True).head(5))

# %% [markdown]
# Nearly every pair has one comment, so the count can tell little about how much somebody cared. What is learnt here is
# who was there at all.
#
# How many stories has a user? How many users has a story?

# %%
of_user, of_story = log.group_by("user").len()["len"], log.group_by("item").len()["len"]
shares = [
    (f"at least {least}", int((of_user >= least).sum()), float((of_user >= least).mean())) for least in (1, 2, 3, 5, 10)
]
print(table(("stories", "users", "share"), shares, f"{len(of_user):,} users", numbers=("users", "share")))
busiest = of_user.sort(descending=True)
print(
    f"the busiest 1 % of the users wrote {busiest.head(max(len(busiest) // 100, 1)).sum() / len(log):.0%} of all pairs"
)
print(f"users of a story: median {of_story.median():.0f}, most {of_story.max()}; least score {items['score'].min()}")

# %% [markdown]
# Heavy tails on both sides: most people came once, and a few are everywhere. And the log was chosen: only stories that
# did very well are in it, so "popular" means the best of the best, and nothing here tells how a story becomes popular.
#
# Whoever has fewer than three stories cannot be tested (one for train, validation, test each). The figures below are
# of the others; all the rest stay in train, and what can be done for them comes last.

# %%
described = {
    "name": "stories",
    "interactions": {"user": "user", "item": "item"},
    "split": {"method": "random"},
    "items": {"id": "item", "text": ["title"]},
}
stories = write_folder(out / "stories", log.select("user", "item"), items, described)
facts, pictures = inspect_folder(stories, out / "plots")
print(facts_tables({name: facts[name] for name in ("log", "content", "splits")}))
print(findings_table("stories", clean(stories).kinds(), ""))
print(*pictures, sep="\n")

# %% [markdown]
# `clean` finds nothing here, which is not all: see the titles below, where `?` stands for quotes that were lost before
# the data were published. Lost letters cannot be told from real ones, so no tool brings them back.
#
# ## Split, train, measure
#
# The log has no times, so a tenth of each user's stories is drawn for test. People are then asked about stories of last
# spring by what they said in autumn. A feed never works like that; the newest stories get a test of their own below.

# %%
data = Dataset.load(stories)
runs = train_all(data, out, ["train.epochs=15"])
found, text = judge(runs, "stories held out by lot")
print(text)

# %% [markdown]
# There are few stories and many users, so that what goes with what is well known, and the plain `ease` is hard to beat.
# With thousands of users even a small difference is significant: read its size in the first column and ask whether it
# is worth a graph network to you; `ease` is fitted in a second. Whom do we serve how well?

# %%
print(cohorts_table(found["modality_gnn"].cohorts))
beyond = ("coverage@10", "gini@10", "novelty@10", "popularity_lift@10")
rows = [(name, *(one.beyond[key] for key in beyond)) for name, one in found.items()]
print(table(("model", *beyond), rows, "beyond accuracy", numbers=beyond))

# %% [markdown]
# Averages hide this: nearly all hits are on the head, the few stories that share a third of the comments. A story of
# the tail is hardly ever found by who would talk about it. And the busiest users are served worst: they take from
# everything. Coverage and popularity lift say that at least the lists are not the same for all, as `popularity`'s are.
#
# ## Freshness
#
# Ids of stories rise with time, so the newest tenth can be told without timestamps. All their comments are hidden: this
# is the first minute of a story, when nobody has said a word. Only the title is known. Users are those with three
# stories or more before.

# %%
newest = items["item"].sort(descending=True).head(max(len(items) // 10, 2)).to_list()
before = log.filter(~pl.col("item").is_in(newest)).group_by("user").len().filter(pl.col("len") >= 3)
regulars = log.select("user", "item").filter(pl.col("user").is_in(before["user"].to_list()))
kinds = {**described, "interactions": {"split": "split"}, "split": {"method": "published"}}
fresh = Dataset.load(write_folder(out / "fresh", hide(regulars, newest), items, kinds))
fresh_runs, found_new, text = judge_new(fresh, out, "fresh", newest, "the newest stories", epochs=10)
print(text)

# %% [markdown]
# `hindsight` is the same list for everybody, in the order of how many will have commented: what a feed would show that
# could see the future and knew nobody. Where it stays above the model, a title says less about who will come than the
# story's success does, and the first votes of the first hour are worth more than any text model.
#
# ## A user's list, and why

# %%
run = runs["modality_gnn"]
recommender = Recommender(run)
user = data.user_ids[np.bincount(data.interactions.user).argmax()]
best = recommender.recommend(user, k=5)
print("had last:", "; ".join(had.title or had.id for had in recommender.history(user, 5)))
print(recommendations_table(best, f"for user {user}"))
another = data.user_ids[int(np.flatnonzero(np.bincount(run.train.user) >= 3)[0])]
her_best = recommender.recommend(another, k=1)[0]
print(explanation_tables(Explainer(run).explain(another, her_best.id)))

# %% [markdown]
# ## Those who come once
#
# Most people of this log have one story. They need no training of their own: a history is folded in as it is. This is
# what somebody gets who just commented her first story.

# %%
first = items.sort("score", descending=True).row(0, named=True)
print(recommendations_table(recommender.recommend_history([str(first["item"])], k=5), f"after: {first['title']}"))
print(recommendations_table(recommender.recommend_query("privacy and encryption", k=5), "stories on a subject"))

# %% [markdown]
# ## Out and served

# %%
files = export_embeddings(
    run.user_vectors, run.item_vectors, run.user_ids, run.item_ids, out / "exported", ("parquet", "npy")
)
print(*files, sep="\n")

# %%
with serving(run.folder) as url:
    print(url, ask(f"{url}/health")["status"])
    told = [tell(f"{url}/feedback", user="somebody new", item=place.id) for place in best[:2]]
    newcomer = ask(f"{url}/recommend", user="somebody new", k=3)["items"]
    like = ask(f"{url}/similar", item=best[0].id, k=3)["items"]
print("after two comments:", [place["title"] for place in newcomer])
print(f"like {best[0].title}:", [place["title"] for place in like])

# %%
keep(out, {"stories held out": found, "newest stories": found_new})
print(f"all of it is in {out}")
