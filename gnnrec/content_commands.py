"""What the commands about content call and print: encoders, words for pictures, sounds, users and items, cleaning."""

import argparse
from pathlib import Path
from typing import Any

from gnnrec.arguments import length, one_of
from gnnrec.commands import check_runs, print_json, remarks, show
from gnnrec.errors import UserError

ENGINES = ("loop", "ray")


def engine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine", type=one_of(ENGINES), default="loop", help="loop: this process; ray: many (default: loop)"
    )
    parser.add_argument("--workers", type=length, help="processes of --engine ray (default: one a core)")
    parser.add_argument("--address", help="a Ray cluster for --engine ray (default: this machine alone)")
    parser.add_argument("--shards", type=Path, metavar="FOLDER", help="keep what --engine ray made, as Parquet")
    parser.add_argument(
        "--stream",
        action="store_true",
        help="with --engine ray: workers read the items and users, which lie in Parquet; this process holds none",
    )


def encode(options: argparse.Namespace) -> None:
    given = [name for name in ("workers", "address", "shards", "stream") if getattr(options, name) not in (None, False)]
    if given and options.engine != "ray":
        raise UserError(f"encode --{given[0]}: goes with --engine ray")
    from gnnrec.datasets import Dataset
    from gnnrec.encoders import encode_dataset, unusable_content
    from gnnrec.recipe import load_recipe

    recipe = load_recipe(options.recipe, options.set)
    recipe.refuse_finetuning("encode")
    if options.stream:
        from gnnrec.encoders.ray_tables import fill_from_tables

        filled = fill_from_tables(options.data, recipe.encoders, _actors(options))
        _show_features(options, filled.rows, filled.rejected, filled.now)
        return
    dataset = Dataset.load(options.data)
    by_workers = _fill_by_ray(dataset, recipe.encoders, options) if options.engine == "ray" else None
    items, users = encode_dataset(dataset, recipe.encoders)
    rows = [
        {
            "owner": owner,
            "modality": modality,
            "encoder": features.encoder,
            "dimensions": features.values.shape[1],
            "rows": len(features.mask),
            "encoded": int(features.mask.sum()),
            "unusable": len(features.rejected),
        }
        for owner, content in (("items", items), ("users", users))
        for modality, features in content.items()
    ]
    _show_features(options, rows, unusable_content(dataset, items, users).to_dicts(), by_workers)


def _show_features(
    options: argparse.Namespace,
    rows: list[dict[str, Any]],
    rejected: list[dict[str, Any]],
    by_workers: dict[str, dict[str, int]] | None,
) -> None:
    from gnnrec.tables import features_table, rejected_table

    if options.json:
        more = {} if by_workers is None else {"encoded_by_workers": by_workers}
        print_json({"features": rows, "rejected": rejected} | more)
        return
    print(features_table(rows))
    if rejected:
        print()
        print(rejected_table(rejected))


def _fill_by_ray(dataset: Any, config: Any, options: argparse.Namespace) -> dict[str, dict[str, int]]:
    """What was encoded by workers, by owner and modality. Content with features made elsewhere needs none."""
    from gnnrec.encoders.ray_engine import fill_cache

    workers = _actors(options)
    owners = {
        "items": (config.items_of(dataset), dataset.item_features),
        "users": (dataset.users, dataset.user_features),
    }
    return {
        owner: fill_cache(catalog, config, workers, given=given)
        for owner, (catalog, given) in owners.items()
        if catalog is not None
    }


def _actors(options: argparse.Namespace) -> Any:
    import os

    from gnnrec.encoders.ray_engine import Actors

    return Actors(number=options.workers or os.cpu_count() or 1, address=options.address, shards=options.shards)


def fit_encoder(options: argparse.Namespace) -> None:
    from gnnrec.encoders.fitted.kinds import KINDS

    if options.kind not in KINDS:
        raise UserError(f"fit-encoder --kind: found {options.kind!r}; allowed: {', '.join(KINDS)}")
    from gnnrec import fitting
    from gnnrec.datasets import Dataset
    from gnnrec.encoders.augment import AugmentConfig
    from gnnrec.recipe import load_recipe, load_settings
    from gnnrec.tables import fitted_table

    own = [override for override in options.set if override.startswith(("encoder.", "augment."))]
    recipe = load_recipe(options.recipe, [override for override in options.set if override not in own])
    config, augment = load_settings({"encoder": KINDS[options.kind].config, "augment": AugmentConfig}, own)
    dataset = Dataset.load(options.data)
    made = fitting.fit_encoder(
        dataset, options.out, options.kind, config, recipe=recipe, augment=augment, say=remarks(options)
    )
    use = f"use it: gnnrec train {options.data} --out RUN --set encoders.{made['modality']}={options.out}"
    show(options, {"folder": str(options.out)} | made, lambda: f"{fitted_table(made)}\n{use}")


def describe(options: argparse.Namespace) -> None:
    from gnnrec.datasets import Dataset
    from gnnrec.recipe import load_recipe
    from gnnrec.words.content import describe_dataset

    recipe = load_recipe(options.recipe, options.set)
    dataset = Dataset.load(options.data)
    if dataset.items is None:
        raise UserError(f"{options.data}: its items have no content that could be described")
    made = describe_dataset(dataset, recipe.encoders, recipe.describe)
    titles = dataset.items.titles()
    rows = [
        {"id": dataset.item_ids[row], "title": titles[row] or "", "modality": modality, "text": text, "made_by": maker}
        for row, modality, text, maker in made.rows
    ]
    show_texts(options, "descriptions", rows, {"made_by": made.made_by(), "failures": list(made.failures)})


def profiles(options: argparse.Namespace) -> None:
    from gnnrec.datasets import Dataset, split
    from gnnrec.recipe import load_recipe
    from gnnrec.words.content import profile_dataset

    recipe = load_recipe(options.recipe, options.set)
    dataset = Dataset.load(options.data)
    made = profile_dataset(dataset, split(dataset, recipe.split_config(dataset)).train, recipe.profiles)
    ids = {"user": dataset.user_ids, "item": dataset.item_ids}
    rows = [
        {"kind": kind, "id": ids[kind][row], "text": text, "made_by": maker or ""}
        for kind, own in made.items()
        for row, (text, maker) in enumerate(zip(own.texts, own.made_by))
        if text is not None
    ]
    facts = {
        "made_by": {kind: own.counts() for kind, own in made.items()},
        "refused": sum(own.refused for own in made.values()),
        "failures": [reason for own in made.values() for reason in own.failures],
    }
    show_texts(options, "profiles", rows, facts)


def show_texts(options: argparse.Namespace, name: str, rows: list[dict[str, str]], facts: dict[str, Any]) -> None:
    """Generated texts: all of them as JSON and in --out, the first ones on a terminal."""
    from gnnrec.tables import texts_table
    from gnnrec.words.content import save_texts

    if options.out is not None and rows:
        save_texts(options.out / f"{name}.csv.gz", rows)
    if options.json:
        print_json(facts | {name: rows})
        return
    print(texts_table(name, rows, facts))
    if options.out is not None and rows:
        print(options.out / f"{name}.csv.gz")


def clean(options: argparse.Namespace) -> None:
    from gnnrec import cleaning
    from gnnrec.recipe import load_settings
    from gnnrec.tables import findings_table

    (config,) = load_settings({"clean": cleaning.CleanConfig}, options.set)
    found = cleaning.clean(options.data, config, options.to, options.repair)
    show(options, found.to_json(), lambda: findings_table(str(options.data), found.kinds(), copied=found.copied))


def modalities(options: argparse.Namespace) -> None:
    from gnnrec.content_tables import study_tables
    from gnnrec.datasets import Dataset
    from gnnrec.modalities import draw_study, study_modalities
    from gnnrec.recipe import load_recipe

    recipe = load_recipe(options.recipe, options.set)
    how = {name: getattr(options, name) for name in ("out", "seeds", "epochs", "skip", "missing")}
    study = study_modalities(Dataset.load(options.data), recipe, **how, say=remarks(options))
    pictures = draw_study(study, options.plots) if options.plots else []
    if options.json:
        print_json(study | {"pictures": [str(path) for path in pictures]})
        return
    print(study_tables(study))
    for path in pictures:
        print(path)


def transfer(options: argparse.Namespace) -> None:
    check_runs(options.run)
    from gnnrec import transfer as transferring
    from gnnrec.content_tables import transfer_tables
    from gnnrec.datasets import Dataset
    from gnnrec.run_folder import Run

    run, say = Run.load(options.run), remarks(options)
    dataset = Dataset.load(options.data)
    say(dataset.summary())
    placed = transferring.place_run(run, dataset)
    made = {} if options.out is None else {"out": str(transferring.keep(placed, run, options.out).folder)}
    document = {"run": str(options.run), "data": dataset.name} | made | transferring.measure_transfer(placed)
    show(options, document, lambda: "\n\n".join([transfer_tables(document), *(f"run: {out}" for out in made.values())]))
