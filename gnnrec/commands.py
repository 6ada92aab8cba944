"""What each command calls and prints; `cli.py` parses what was typed. No logic lives here.

Heavy modules are imported inside the commands, so that `gnnrec --help` and what is typed wrongly are answered at once.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.errors import UserError, count, printable

if TYPE_CHECKING:
    from gnnrec.llm.phrase import Phraser

SOFT_OFF = "off, since what they say is not shown to matter"


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def show(options: argparse.Namespace, document: Any, text: Callable[[], str]) -> None:
    """The document with --json, else the text."""
    if options.json:
        print_json(document)
    else:
        print(text())


def remarks(options: argparse.Namespace) -> Callable[[str], None]:
    """Remarks go to stderr, and nowhere with --json."""
    if getattr(options, "json", False):
        return lambda line: None
    return lambda line: print(printable(line), file=sys.stderr)


def demo(options: argparse.Namespace) -> None:
    from gnnrec.demo import run_demo

    run_demo(options.data, options.out, options.set, say=lambda line: print(line, flush=True))


def train(options: argparse.Namespace) -> None:
    from gnnrec import finetuning
    from gnnrec.datasets import Dataset, open_feedback
    from gnnrec.datasets.pseudonyms import Pseudonyms
    from gnnrec.parallel.settings import ParallelConfig
    from gnnrec.private_runs import private_line, private_recipe
    from gnnrec.recipe import load_recipe
    from gnnrec.tables import metrics_table

    if options.epsilon is None and options.delta is None:
        recipe = load_recipe(options.recipe, options.set)
    else:
        recipe = private_recipe(options.recipe, options.set, options.epsilon, options.delta)
    say = remarks(options)
    parallel = ParallelConfig(nproc=options.nproc, engine=options.engine, address=options.address)
    feedback = None if options.with_feedback is None else open_feedback(options.with_feedback)
    pseudonyms = Pseudonyms.required() if options.pseudonyms else None
    dataset = Dataset.load(options.data, feedback, pseudonyms)
    say(dataset.summary())
    more = {"track": options.track, "encrypt": options.encrypt, "parallel": parallel}
    run = finetuning.train(dataset, options.out, recipe, **more, say=say)
    metrics = run.metrics
    beside = {"frozen encoders": run.frozen.metrics} if run.frozen else {}
    if options.json:
        print_json({"run": str(run.folder)} | metrics | ({"frozen": run.frozen.metrics} if run.frozen else {}))
    else:
        if metrics:
            title = f"validation, {count(metrics['users'], 'user')}"
            print(metrics_table({recipe.model_name: metrics} | beside, title=title))
        if "privacy" in run.provenance:
            print(private_line(run.provenance["privacy"]))
        print(f"run: {run.folder}")


def tune_settings(options: argparse.Namespace) -> None:
    from gnnrec import tuning
    from gnnrec.datasets import Dataset
    from gnnrec.recipe import load_recipe
    from gnnrec.tables import trials_table

    recipe = load_recipe(options.recipe, options.set)
    budget = {name: getattr(options, name) for name in ("search", "trials", "minutes", "seeds")}
    study = tuning.tune_settings(
        Dataset.load(options.data), options.out, recipe, **budget, say=remarks(options)
    ).to_json()
    if options.json:
        print_json(study)
    else:
        print(trials_table(study), f"recipe: {study['recipe']}", sep="\n\n")


def check_runs(*folders: Path) -> None:
    """Say what is no run before torch is imported. Raises UserError."""
    from gnnrec.run_folder import Run

    for folder in folders:
        Run.load(folder)


def evaluate(options: argparse.Namespace) -> None:
    runs = [options.run] if options.against is None else [options.run, options.against]
    check_runs(*runs)
    from gnnrec.comparison import evaluate_against
    from gnnrec.evaluation import refuse_samples
    from gnnrec.run_folder import Run
    from gnnrec.tables import cohorts_table, comparison_table, metrics_table

    if options.candidates != "all":
        refuse_samples(options.candidates)
    dataset = None if options.data is None else Run.load(options.run).dataset(options.data)
    documents, comparison = evaluate_against(runs, options.split, options.mask, dataset)
    if options.json:
        print_json(documents[0] | ({"against": documents[1], "comparison": comparison} if comparison else {}))
        return
    names = [str(run) for run in runs]
    drawn = " drawn by split.users" if "sample" in documents[0] else ""
    title = f"{options.split}, {count(documents[0]['users'], 'user')}{drawn}, known: {documents[0]['mask']}"
    if due := documents[0]["users_due_to_be_forgotten"]:
        title += f"; left out: {count(due, 'user')} due to be forgotten"
    print(metrics_table(dict(zip(names, documents)), title=title))
    print()
    print(comparison_table(comparison, *names) if comparison else cohorts_table(documents[0]["cohorts"]))


def recommend(options: argparse.Namespace) -> None:
    query = {"text": options.text, "image": options.image, "audio": options.audio}
    asked = [
        any(value is not None for value in query.values()),
        *(value is not None for value in (options.user, options.item, options.history)),
    ]
    if sum(asked) != 1:
        raise UserError("recommend: expected one of --user, --item, --history, or a query of --text, --image, --audio")
    if options.to_users and not asked[0]:
        raise UserError("recommend --to-users: needs a new item by --text, --image or --audio")
    if words := [name for name in ("rerank", "generate", "explain") if getattr(options, name)]:
        if options.user is None and words != ["rerank"]:
            raise UserError(f"recommend --{words[-1]}: needs --user, a known user")
        if options.user is None and options.history is None:
            raise UserError("recommend --rerank: needs --user, a known user, or --history")
        if options.rerank and options.generate:
            raise UserError("recommend --generate: goes without --rerank: the list is the language model's own")
        recommend_in_words(options)
        return
    if options.set:
        raise UserError("recommend --set: goes with --rerank, --generate or --explain")
    from gnnrec.recommend import Recommender
    from gnnrec.tables import recommendations_table

    recommender = Recommender.load(options.run)
    if options.user is not None:
        title, found = f"for user {options.user}", recommender.recommend(options.user, options.k)
    elif options.item is not None:
        title, found = f"like item {options.item}", recommender.similar_items(options.item, options.k)
    elif options.history is not None:
        title, found = "for somebody new", recommender.recommend_history(ids_in(options.history), options.k)
    elif options.to_users:
        title, found = "users for this new item", recommender.users_for_query(**query, k=options.k)
    else:
        title, found = "for this query", recommender.recommend_query(**query, k=options.k)
    if options.json:
        print_json([recommendation.to_json() for recommendation in found])
    else:
        print(recommendations_table(found, title))


def ids_in(history: str) -> list[str]:
    return [name.strip() for name in history.split(",") if name.strip()]


def tune(options: argparse.Namespace) -> None:
    from gnnrec.language.server import open_model
    from gnnrec.llm.settings import LLMConfig
    from gnnrec.llm.tune import TuneConfig, check_settings
    from gnnrec.llm.tune import tune as tune_model
    from gnnrec.llm.tuned_scorer import FILE
    from gnnrec.recipe import load_settings
    from gnnrec.run_folder import Run
    from gnnrec.tables import controls_table

    llm, config = load_settings({"llm": LLMConfig, "tune": TuneConfig}, options.set)
    check_settings(llm)
    run, say = Run.load(options.run), remarks(options)
    tuned = tune_model(run, open_model(llm.model, trainable=True), llm, config, say)
    if options.json:
        print_json({"file": str(run.folder / FILE)} | tuned.to_json())
        return
    if tuned.controls:
        print(controls_table(tuned.controls), "", sep="\n")
    print(f"soft tokens: {'on' if tuned.soft else SOFT_OFF if tuned.projectors else 'none were learnt'}")
    print(f"learnt in {tuned.cpu_seconds / 60:.1f} CPU minutes")
    print(f"use it: gnnrec recommend {run.folder} --user ID --rerank --set llm.scorer=tuned")


def recommend_in_words(options: argparse.Namespace) -> None:
    """Lists that the language model reordered or wrote, or whose places are explained, or both."""
    from gnnrec.language.server import open_server
    from gnnrec.llm.explainer import Explainer
    from gnnrec.llm.list_scorers import ListScorer
    from gnnrec.llm.settings import LLMConfig, open_list_writer, open_reranker
    from gnnrec.progress import progress
    from gnnrec.recipe import load_settings
    from gnnrec.recommend import Recommender
    from gnnrec.tables import generated_table, known_as, recommendations_table, reranked_table

    (config,) = load_settings({"llm": LLMConfig}, options.set)
    recommender, say = Recommender.load(options.run), remarks(options)
    history = None if options.history is None else ids_in(options.history)
    title, document = f"for user {options.user}" if history is None else "for somebody new", dict[str, Any]()
    if options.rerank:
        if history is None:
            recommender.run.user_index(options.user)  # before anything heavy
        else:
            recommender.history_of(history)
        reranker = open_reranker(recommender.run, config, say)
        nobody = config.chosen_scorer == "none"
        say("llm.scorer=none: nobody judges, so the order stays" if nobody else reranker.weight.describe())
        before = len(reranker.scorer.failures)
        talker = reranker.scorer if isinstance(reranker.scorer, ListScorer) else None
        disagreements = talker.disagreements if talker else 0
        found: Any = (
            reranker.recommend(recommender, options.user, options.k)
            if history is None
            else reranker.recommend_history(recommender, history, options.k)
        )
        failures = reranker.scorer.failures[before:]
        for reason in failures:
            say(f"the language model gave no answer, so the order is the graph's: {reason}")
        disagreed = talker is not None and talker.disagreements > disagreements
        if disagreed:
            say("the language model's answers to two orders disagree, so the order is the graph's")
        document = {"weight": reranker.weight.to_json(), "failures": failures, "disagreed": disagreed}
        shown = reranked_table(found, title)
    elif options.generate:
        recommender.run.user_index(options.user)
        lists = open_list_writer(recommender.run, config)
        if lists.soft is not None:
            say(f"soft tokens: {'on' if lists.soft else SOFT_OFF}")
        found = lists.recommend(recommender, options.user, options.k)
        for reason in lists.writer.failures:
            say(f"the language model gave no answer, so the places it left are the graph's: {reason}")
        if dropped := lists.writer.dropped:
            say("dropped: " + ", ".join(count(number, f"{kind} title") for kind, number in sorted(dropped.items())))
        document = {"dropped": dict(lists.writer.dropped), "failures": lists.writer.failures, "soft": lists.soft}
        shown = generated_table(found, title)
    else:
        found = recommender.recommend(options.user, options.k)
        shown = recommendations_table(found, title)
    items, why = [place.to_json() for place in found], list[str]()
    if options.explain:
        explainer = Explainer(recommender.run, open_server(config) if config.phrase else None)
        for row, place in zip(items, progress(found, text="looking for reasons", unit="item")):
            row |= explainer.reasons(options.user, place.id)
            said = " ".join(sentence["text"] for sentence in row["explanation"])
            why.append(printable(f"{place.rank}. {known_as(place)}: {said or 'no reason found.'}"))
        if explainer.phraser:
            document |= _phrasing(explainer.phraser, say)
    if options.json:
        print_json(document | {"items": items})
    else:
        print(shown, *why, sep="\n")


def _phrasing(phraser: "Phraser", say: Callable[[str], None]) -> dict[str, Any]:
    """What became of the phrasings, for people and for JSON."""
    if phraser.refused:
        say(f"{count(phraser.refused, 'phrasing')} refused; the templates stand there")
    for reason in dict.fromkeys(phraser.failures):
        say(f"the language model gave no answer, so templates stand: {reason}")
    return {"phrasings_refused": phraser.refused, "phrasings_failed": phraser.failures}


def explain(options: argparse.Namespace) -> None:
    check_runs(options.run)
    from gnnrec.language.server import open_server
    from gnnrec.llm.explainer import Explainer
    from gnnrec.llm.settings import LLMConfig
    from gnnrec.recipe import load_settings
    from gnnrec.run_folder import Run
    from gnnrec.tables import explanation_tables

    (config,) = load_settings({"llm": LLMConfig}, options.set)
    run = Run.load(options.run)
    run.user_index(options.user)  # before anything heavy
    run.item_index(options.item)
    explainer = Explainer(run, open_server(config) if config.phrase else None)
    explanation = explainer.explain(options.user, options.item, options.counterfactual)
    if explainer.phraser:
        explanation |= _phrasing(explainer.phraser, remarks(options))
    show(options, explanation, lambda: explanation_tables(explanation))


def inspect(options: argparse.Namespace) -> None:
    if options.user is not None and options.plots is None:
        raise UserError("inspect --user: needs --plots FOLDER for the picture")
    if options.augment and options.plots is None:
        raise UserError("inspect --augment: needs --plots FOLDER for the contact sheets")
    if options.set and not options.augment:
        raise UserError("inspect --set: goes with --augment")
    from gnnrec.encoders.augment import AugmentConfig
    from gnnrec.graph_augment import DropoutConfig
    from gnnrec.inspect import Augmentations, inspect_folder
    from gnnrec.recipe import load_settings
    from gnnrec.tables import facts_tables

    content, graph = load_settings({"augment": AugmentConfig, "dropout": DropoutConfig}, options.set)
    augment = Augmentations(content=content, graph=graph) if options.augment else None
    facts, pictures = inspect_folder(options.folder, options.plots, options.user, augment)
    if options.json:
        print_json(facts | {"pictures": [str(path) for path in pictures]})
        return
    print(facts_tables(facts))
    for path in pictures:
        print(path)


def report(options: argparse.Namespace) -> None:
    check_runs(options.run, *options.against)
    from gnnrec.report import write_report

    print(write_report(options.run, options.out, options.against, options.study, options.modalities))


def models(options: argparse.Namespace) -> None:
    from gnnrec.encoders.known_models import PRETRAINED
    from gnnrec.encoders.pretrained import get, listed
    from gnnrec.tables import models_table

    if options.action == "get":
        if not options.name:
            raise UserError(f"models get: expected a name; allowed: {', '.join(PRETRAINED)}")
        for name in options.name:
            print(f"{name}: {get(name)}")
        return
    if options.action == "verify":
        from gnnrec.encoders.verify import WRITTEN, verify

        found = verify(options.name)
        show(options, found, lambda: "\n".join(f"{row['name']}: {row['state']}" for row in found))
        if wrong := [row for row in found if row["files"] and row["state"] != WRITTEN]:
            raise UserError(f"models verify: {wrong[0]['name']}: {wrong[0]['state']} ({wrong[0]['folder']})")
        return
    rows = listed()
    show(options, rows, lambda: models_table(rows))


def doctor(options: argparse.Namespace) -> None:
    from gnnrec.doctor import diagnose
    from gnnrec.tables import doctor_table

    rows = diagnose()
    show(options, rows, lambda: doctor_table(rows))
