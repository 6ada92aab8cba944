# %% [markdown]
# # Education: which course next, and who would take a new one?
#
#     python scripts/examples/education.py DATA
#
# The data are course enrolments of IBM's former learning platform, as published for the capstone of "IBM Machine
# Learning" on Coursera. They are not shipped. The folder DATA holds
#
# - `interactions.csv.gz`: user, item, rating; one row an enrolment
# - `items.csv.gz`: item, title, description, genres; one row a course, also those that nobody has taken
# - `dataset.toml`: the names of these files and columns, see docs/data.md
#
# Everything is written into a new folder below `runs/`. It takes half a minute on one core. In a notebook say
# `sys.argv[1:] = ["DATA"]` in a cell before the first.

# %%
import numpy as np
import polars as pl
from steps import ask, data_folder, hide, judge, judge_new, keep, new_output, serving, tell, train_all, write_folder

from gnnrec import Dataset, Explainer, Recommender, clean, inspect_folder
from gnnrec.cli import main as command
from gnnrec.tables import explanation_tables, facts_tables, findings_table, recommendations_table, table

folder, out = data_folder(), new_output("education")

# %% [markdown]
# ## The raw log
#
# First the files as they are, before any model: what does a row say?

# %%
log = pl.read_csv(folder / "interactions.csv.gz")
items = pl.read_csv(folder / "items.csv.gz")
print(log.head(3), log["rating"].value_counts(sort=True), sep="\n")

# %% [markdown]
# The rating has two values, and nearly all rows have the same: it says that somebody enrolled, not how she liked it. So
# the log is implicit feedback, and what was not taken is unknown rather than disliked. The texts come from several
# sources, so before anything is counted: is everything there once, and whole?

# %%
cleaning = clean(folder, to=out / "clean", kinds="mojibake,duplicate-items")
print(findings_table(folder.name, cleaning.kinds(), cleaning.copied))

# %% [markdown]
# `clean` lists what loads but is wrong, and mends what it is told to in a copy. Courses that are there twice to the
# letter become one. Courses that are nearly alike (`near-texts`) may be two parts of one series: look before merging.
#
# How much of the catalogue was ever taken?

# %%
log = pl.read_csv(out / "clean" / "interactions.csv.gz", columns=["user", "item"])
items = pl.read_csv(out / "clean" / "items.csv.gz")
taken = sorted(set(log["item"]))
never = sorted(set(items["item"]) - set(taken))
print(f"{len(taken)} of {len(items)} courses were taken; {len(never)} by nobody")

# %% [markdown]
# Most of a school's catalogue has no enrolments. No method that knows the log alone can ever recommend those, or
# tell them apart. That is the reason to use content here.
#
# A dataset folder is three files: the log, the items, and what their columns are. `inspect_folder` says what is in it.

# %%
described = {
    "name": "courses",
    "interactions": {"user": "user", "item": "item"},
    "split": {"method": "random"},
    "items": {"id": "item", "text": ["title", "description", "genres"]},
}
school = write_folder(out / "school", log.unique(maintain_order=True), items, described)
facts, pictures = inspect_folder(school, out / "plots")
print(facts_tables({name: facts[name] for name in ("log", "content")}))
print(*pictures, sep="\n")

# %% [markdown]
# Everybody has at least five courses: people who tried one and left are not in this log, though every platform has many
# of them. Figures from it hold for those who stay.
#
# ## Split, train, measure
#
# There are no times, so a tenth of each user's courses is drawn for test and a tenth for validation. That asks "which
# courses go with hers", not "which comes next": a beginner's course may be hidden while its sequel is known.

# %%
data = Dataset.load(school)
runs = train_all(data, out, ["train.epochs=40"])
found, text = judge(runs, "all courses")
print(text)

# %% [markdown]
# Read the last table before the first: where an interval holds 0, the two models are as good as each other here. Ours
# is no better than `ease`, a linear model of which courses go together that is fitted in a second, and loses in
# Recall. Why? It also puts courses into the lists that nobody has taken yet, and the test rows hold none of these:
# here such a place counts as an error, whoever would have liked the course. Among the courses that were taken:

# %%
found_taken, text = judge(runs, "courses that were taken", candidates=np.isin(data.item_ids, taken))
print(text)

# %% [markdown]
# That is the fair comparison of what goes with what, and it is close. `p Holm` is corrected for there being four
# metrics: what is below .05 only without the correction is not shown. So accuracy on old courses is no reason to leave
# the simpler model. The new ones are, which the log alone cannot reach:

# %%
beyond = ("coverage@10", "gini@10", "novelty@10", "popularity_lift@10")
print(
    table(
        ("model", *beyond),
        [(name, *(one.beyond[key] for key in beyond)) for name, one in found.items()],
        "beyond accuracy",
        numbers=beyond,
    )
)

# %% [markdown]
# Coverage: the share of all courses that are in anybody's list; no method of the log can pass the share that was ever
# taken. Novelty: how rare the recommended courses are, in bits. Popularity lift: how much more popular they are than
# what the user chose herself; below 0 they are less popular. Where two models are equally accurate, these decide, and
# a school that wants its whole catalogue seen decides otherwise than one that wants the safest tip.
#
# ## New courses
#
# Are the recommendations of courses without enrolments any good? Of those nothing is known, so nothing can be measured.
# But one can make new courses: hide a fifth of the taken ones, all of their rows, train on the rest, and ask each user
# who took one of them to find it among the hidden. `popularity` cannot tell them apart and stands for chance.

# %%
hidden = np.random.default_rng(0).permutation(taken)[: len(taken) // 5].tolist()
kinds = {**described, "interactions": {"split": "split"}, "split": {"method": "published"}}
cold = Dataset.load(write_folder(out / "with_new", hide(log, hidden), items, kinds))
cold_runs, found_new, text = judge_new(cold, out, "cold", hidden, "new courses", epochs=40)
print(text)

# %% [markdown]
# The texts place a new course well above chance (except for recall@20, where all of the hidden fit into a list).
# `hindsight` is the same list for everybody, in the order of the hidden enrolments themselves, which nobody knows
# beforehand. It is better still: with few courses, of which some are in nearly everybody's plan, knowing which ones
# those will be is worth more than knowing the learner. So do not take the gain for personal taste. And this is a single
# draw of few courses: other draws differ by more than the interval, which is over users, shows.
#
# With that in hand, the courses nobody has taken yet, for one user, and for a course the users to tell about it:

# %%
recommender = Recommender(runs["modality_gnn"])
user = data.user_ids[np.bincount(data.interactions.user).argmax()]
everything = recommender.recommend(user, k=len(data.item_ids))
print("had last:", ", ".join(had.title or had.id for had in recommender.history(user, 5)))
print(recommendations_table([place for place in everything if place.id in set(never)][:5], f"never taken, for {user}"))

# %%
course = items.filter(pl.col("item") == never[0]).row(0, named=True)
audience = recommender.users_for_query(text=f"{course['title']}. {course['description']}", k=5)
print(recommendations_table(audience, f"whom to tell about: {course['title']}"))

# %% [markdown]
# ## Why?
#
# Each thing the user had and each content of the course is taken out of the graph, and the score computed again: what
# lowers it is evidence. No language model is asked.

# %%
best = everything[0].id
print(explanation_tables(Explainer(runs["modality_gnn"]).explain(user, best)))

# %% [markdown]
# ## Out and served
#
# What stands above in Python is also typed, and a run does not care which: `gnnrec train`, `evaluate --against`,
# `recommend`, `explain`. The embeddings, for whatever searches vectors, this time by the command:

# %%
run = runs["modality_gnn"]
command(["export", str(run.folder), "--to", str(out / "exported"), "--format", "parquet,npy"])

# %% [markdown]
# The service is the one of `gnnrec serve`; a learner who is in no log gets a list at once from what she tells of, and
# no training.

# %%
with serving(run.folder) as url:
    print(url, ask(f"{url}/health")["status"])
    served = ask(f"{url}/recommend", user=user, k=3)["items"]
    told = tell(f"{url}/feedback", user="a new learner", item=best)
    newcomer = ask(f"{url}/recommend", user="a new learner", k=3)["items"]
print("for her:", [place["title"] for place in served])
print(f"for somebody who took {best} only:", [place["title"] for place in newcomer])

# %%
keep(out, {"all courses": found, "courses that were taken": found_taken, "new courses": found_new})
print(f"all of it is in {out}")
