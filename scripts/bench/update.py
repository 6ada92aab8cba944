"""What gnnrec update is worth: a run of the older rows, updated with the newer ones, beside training from scratch.

    python scripts/bench/update.py data/movies [--share 0.1] [--set train.epochs=20] [--epochs 10]

The newest share of the rows (in time), and the items that nobody had before, arrive as Parquet partitions. Three runs:
"before" is the old one as it would have served, everything known folded in; "updated" by warm start; "from scratch" on
all rows by the same settings. All on the newest rows: test rows that came with the partitions, the last of each user.
Steps are updates of the weights; a step costs the same in both trainings, so they are what is compared, not seconds.
"""

import argparse
import json
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w
from rows import row, save

from gnnrec.comparison import difference_of
from gnnrec.datasets import Dataset
from gnnrec.datasets.sources import read_raw
from gnnrec.datasets.split import same_rows
from gnnrec.evaluation import evaluate_ranking
from gnnrec.models import model_scorer
from gnnrec.pipeline import held_out, train
from gnnrec.recipe import load_recipe
from gnnrec.update import update

RUNS = Path(__file__).parents[2] / "runs"


def divide(source: Path, old: Path, new: Path, share: float) -> None:
    """The dataset as a folder of its older rows and a folder of partitions with the newer ones."""
    raw = read_raw(source)
    told: dict[str, Any] = tomllib.loads((source / "dataset.toml").read_text(encoding="utf-8"))
    log = raw.log.table.frame.select(raw.log.table.columns)
    assert raw.log.timestamp is not None
    seconds = log[raw.log.timestamp].cast(pl.Float64)
    late = (seconds > seconds.quantile(1 - share)).to_numpy()
    old.mkdir(parents=True)
    new.mkdir()
    log.filter(~late).write_parquet(old / "interactions.parquet")
    log.filter(late).write_parquet(new / "interactions-1.parquet")
    told["interactions"]["path"] = "interactions.parquet"
    assert raw.items is not None
    items = raw.items.table.frame.select(raw.items.table.columns)
    first = items[raw.items.id].cast(pl.String).is_in(log.filter(~late)[raw.log.item].cast(pl.String).implode())
    items.filter(first).write_parquet(old / "items.parquet")
    items.filter(~first).write_parquet(new / "items-1.parquet")
    told["items"]["path"] = "items.parquet"
    for column in raw.items.media.values():
        for name in {str(value).split("/")[0] for value in items[column].drop_nulls()}:
            if not (old / name).exists():
                (old / name).mkdir()
                for path in (source / name).iterdir():
                    (old / name / path.name).hardlink_to(path)
    (old / "dataset.toml").write_text(tomli_w.dumps(told), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--set", nargs="+", default=[])
    parser.add_argument("--epochs", type=int, default=10, help="of the update")
    options = parser.parse_args()
    RUNS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RUNS) as place:  # hard links stay on one disk
        folder = Path(place)
        divide(options.data.resolve(), folder / "old", folder / "new", options.share)
        recipe = load_recipe(None, options.set)
        old = train(Dataset.load(folder / "old"), folder / "before", recipe, say=print)
        made = update(
            old, folder / "new", folder / "after", [*options.set, f"train.epochs={options.epochs}"], say=print
        )
        print(json.dumps(made.document, indent=1))
        dataset = made.run.dataset()
        scratch = train(dataset, folder / "scratch", recipe, say=print)
        parts = held_out(made.run, dataset)
        fresh = parts.test.rows(~same_rows(parts.test, _earlier(made.run, old)))
        found = {
            name: evaluate_ranking(
                model_scorer(run.model, run.known_graph), relevant=fresh, train=run.train, seen=run.known, ks=(10,)
            )
            for name, run in (("updated", made.run), ("from scratch", scratch))
        }
    before = made.document["newest"]["all"]["before"]
    updated, whole = found["updated"], found["from scratch"]
    difference = difference_of(updated.per_user["ndcg@10"], whole.per_user["ndcg@10"], updated.users, whole.users)
    steps = {"before": 0, "updated": made.run.provenance["updates"], "from scratch": scratch.provenance["updates"]}
    rows = []
    for name, updates in steps.items():
        values = before if name == "before" else found[name].metrics
        metrics = {"ndcg@10": values["ndcg@10"], "recall@10": values["recall@10"], "updates": float(updates)}
        seconds = {"updated": made.run, "from scratch": scratch}.get(name, old).provenance["training_seconds"]
        more = {"against_scratch": difference} if name == "updated" else {}
        rows.append(row(f"{options.data.name}, newest {options.share:.0%}", name, [0], [metrics], seconds, **more))
        print(name, metrics, more)
    print("new:", made.document["new"], "newest users:", found["updated"].num_users)
    save("update", rows)


def _earlier(run: Any, old: Any) -> Any:
    """The rows of the old dataset in the indexes of the new run."""
    from gnnrec.warm_start import moved, places

    before = old.dataset()
    return moved(before.interactions, places(run.user_ids, before.user_ids), places(run.item_ids, before.item_ids))


if __name__ == "__main__":
    main()
