"""Are the reasons true, and do they matter?

    python scripts/bench/explain.py RUN --pairs 1000

For random users of a run the best item each is explained. Every statement of the sentences is read back by this script
and looked up in the log and the graph themselves, not in the evidence: the thing named is in her history, the rating
is hers, the number of users who had both is right, a modality said to be close is one in which the two are neighbours,
and at least as many of her friends as are told of had the item.
Then the things told of are taken out of the graph, and as many others of her past drawn at random: how often does the
score fall further without what was told?
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np
import torch
from rows import row, save

from gnnrec.graph import FRIEND, item_modalities, owners
from gnnrec.llm.explainer import Explainer
from gnnrec.llm.sentences import MODALITY_WORDS, explain
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run

THING = re.compile(r"“([^”]+)”(?: \(([^()]*)\))?")
FRIENDS = re.compile(r"(A friend|\d+ friends) of yours had it\.")
DRAWS = 5


class Truth:
    """What the run's log and graph say, read anew."""

    def __init__(self, run: Run, explainer: Explainer) -> None:
        self.run, graph = run, run.known_graph
        self.by_title: dict[str, set[int]] = {}
        for item in range(len(run.item_ids)):
            self.by_title.setdefault(explainer.title(item), set()).add(item)
        self.neighbours = {
            modality: {
                frozenset(pair)
                for pair in owners(graph, modality)[graph[modality, "similar", modality].edge_index].T.tolist()
            }
            for modality in item_modalities(graph)
        }
        self.real = {
            modality: set(owners(graph, modality)[~graph[modality].imputed].tolist())
            for modality in item_modalities(graph)
        }
        self.friends: dict[int, set[int]] = {}
        if FRIEND in graph.edge_types:
            for friend, user in graph[FRIEND].edge_index.T.tolist():
                self.friends.setdefault(user, set()).add(friend)
        self.words = {
            MODALITY_WORDS.get(modality, modality.replace("_", " ")): modality for modality in self.neighbours
        }

    def near(self, modality: str, first: int, second: int) -> bool:
        """Neighbours in a modality, both with content of their own."""
        return (
            frozenset((first, second)) in self.neighbours.get(modality, ()) and {first, second} <= self.real[modality]
        )

    def statements(self, sentence: str, user: int, item: int) -> list[bool]:
        """Each thing that a sentence states, and whether it is so."""
        log = self.run.known
        if sentence.startswith("Because you had "):
            found: list[bool] = []
            for title, notes in THING.findall(sentence):
                things = [
                    thing for thing in self.by_title.get(title, ()) if ((log.user == user) & (log.item == thing)).any()
                ]
                found.append(bool(things))
                if rating := re.search(r"you gave it ([\d.]+)", notes):
                    assert log.rating is not None
                    given = [log.rating[(log.user == user) & (log.item == thing)] for thing in things]
                    found.append(any(np.isclose(float(rating[1]), values).any() for values in given))
                if both := re.search(r"(\d+) users? had both", notes):
                    train = self.run.train
                    item_users = set(train.user[train.item == item].tolist())
                    found.append(
                        int(both[1]) in {len(item_users & set(train.user[train.item == t].tolist())) for t in things}
                    )
            return found
        if close := re.fullmatch(r"Its (.+) (?:is close to that|are close to those) of “(.+)”\.", sentence):
            modalities = [self.words.get(word) for word in re.split(r", | and ", close[1])]
            others = self.by_title.get(close[2], set())
            return [any(self.near(m or "", other, item) for other in others) for m in modalities]
        if own := re.fullmatch(r"Its own (.+) (?:speaks|speak) for it\.", sentence):
            return [item in self.real.get(self.words.get(word) or "", ()) for word in re.split(r", | and ", own[1])]
        if friends := FRIENDS.fullmatch(sentence):
            told = 1 if friends[1] == "A friend" else int(friends[1].split()[0])
            return [len(self.friends.get(user, set()) & set(log.user[log.item == item].tolist())) >= told]
        return [False]  # a sentence that this script cannot read is not shown to be true


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run, random = Run.load(options.run), np.random.default_rng(options.seed)
    explainer, recommender = Explainer(run), Recommender(run)
    truth, began = Truth(run, explainer), time.process_time()
    users = random.permutation(np.unique(run.known.user))
    pairs = [(int(user), place) for place in range(5) for user in users][: options.pairs]
    stated: list[bool] = []
    of_friends, further, larger, explained = 0, 0, 0, 0
    for number, (user, place) in enumerate(pairs, 1):
        item = run.item_index(recommender.recommend(run.user_ids[user], place + 1)[place].id)
        pieces = explainer.evidence(user, item)
        sentences = explain(pieces, explainer.title)
        for sentence in sentences:
            stated += truth.statements(sentence.text, user, item)
            of_friends += FRIENDS.fullmatch(sentence.text) is not None
        found = explainer.held_against_chance(user, item, pieces, seed=number, draws=DRAWS)
        if found["removed"]:
            explained += 1
            further += found["drop"] > np.mean(found["random_drops"])
            larger += found["drop"] > found["random_drops"][0]
        if number % 50 == 0:
            print(
                f"{number} pairs, {np.mean(stated):.4f} of {len(stated)} statements true, {larger / explained:.3f}",
                flush=True,
            )
    values = {
        "pairs": float(len(pairs)),
        "pairs with things told of": float(explained),
        "statements": float(len(stated)),
        "of friends": float(of_friends),
        "true": float(np.mean(stated)),
        "falls further than one random removal": larger / max(explained, 1),
        "falls further than the mean of five": further / max(explained, 1),
    }
    seconds = (time.process_time() - began) / len(pairs)
    save("explain", [row(run.provenance["dataset"]["name"], run.recipe.model_name, [options.seed], [values], seconds)])


if __name__ == "__main__":
    main()
