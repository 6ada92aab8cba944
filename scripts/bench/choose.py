"""Choose settings of a variant by NDCG@20 on validation; accuracy.py takes what was chosen from results/selected.json.

    python scripts/bench/choose.py lfm2k ease model.l2=50,100,200,400,800

Every combination of the values is tried with one seed. The test split is not touched.
"""

import argparse
import itertools
import json

import torch
from accuracy import FOLDERS, SELECTED, VARIANTS, Bench

from gnnrec.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("grid", nargs="+", help="section.key=value,value,…")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench = Bench(options.dataset)
    axes = [[f"{key}={value}" for value in values.split(",")] for key, values in (g.split("=") for g in options.grid)]
    tried = {}
    for settings in itertools.product(*axes):
        tried[" ".join(settings)] = value = bench.validate(options.variant, 0, list(settings))
        print(options.dataset, options.variant, *settings, f"val ndcg@20 {value:.4f}", flush=True)
    best = max(tried, key=lambda settings: tried[settings])
    kept = json.loads(SELECTED.read_text(encoding="utf-8")) if SELECTED.exists() else {}
    kept.setdefault(options.dataset, {})[options.variant] = {"settings": best.split(" "), "val ndcg@20": tried}
    write_json(SELECTED, kept)


if __name__ == "__main__":
    main()
