"""A report about nothing real in which everything is, and every text would like to be markup."""

import numpy as np
from PIL import Image

from gnnrec.plots import bars
from gnnrec.recipe import Recipe
from gnnrec.report.data import Bars, Card, EmbeddingMap, MapPoint, ModelRow, ReportData, Sample
from gnnrec.tuning import Study, Trial

ATTACK = "<script>alert(1)</script> $a$ & 书籍"
NUMBERS = {"users": 5, "ndcg@10": 0.25}


def study(folder):
    """Three trials: good, pruned, better."""
    tried = [("complete", 0.1), ("pruned", 0.01), ("complete", 0.3)]
    trials = tuple(
        Trial(number=number, state=state, value=value, values=(value,), seconds=1, settings={"train.loss": ATTACK})
        for number, (state, value) in enumerate(tried, start=1)
    )
    return Study(folder=folder, metric="ndcg@20", trials=trials, best=trials[2], recipe=Recipe())


def made_data(folder):
    """Pictures go to the folder."""
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (600, 400, 3), dtype=np.uint8)).save(folder / "poster.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    cards = [
        Card(title=ATTACK, image=folder / "poster.png", note=ATTACK, hit=True),
        Card(title="Broken", image=folder / "broken.jpg"),
        Card(title="None"),
    ]
    cohorts = {
        "user_activity": {"low (1-3)": NUMBERS, "high (4-9)": NUMBERS},
        "item_popularity": {"head": NUMBERS, "tail": {"items": 3, "users": 0}},
        "cold_items": NUMBERS | {"among_cold": {"ndcg@10": 0.5}},
        "missing_modality": {"sound": {"has": NUMBERS, "lacks": NUMBERS}},
    }
    return ReportData(
        title=ATTACK,
        subtitle=ATTACK,
        headline={ATTACK: 0.5},
        facts={"Interactions": 90274, ATTACK: ATTACK},
        models=[
            ModelRow(name="ours", metrics={"ndcg@10": 0.0498}, confidence={"ndcg@10": (0.04, 0.06)}, ours=True),
            ModelRow(name=ATTACK, metrics={"ndcg@10": 0.0312}, p_values={"ndcg@10": 0.004}),
        ],
        log=[{"epoch": epoch, "loss": 1 / epoch, "ndcg@10": 0.01 * min(epoch, 10 - epoch)} for epoch in range(1, 9)],
        popularity=np.sort(random.integers(0, 200, 50)),
        exposure=random.integers(0, 200, 50),
        activity=random.integers(0, 90, 40),
        cohorts={"ours": cohorts, ATTACK: cohorts},
        modality_shares={"text": 0.7, ATTACK: 0.3},
        tail=Bars(heading=ATTACK, groups={"head": {"items": 0.1, "interactions": 0.5, ATTACK: 0.9}}),
        modality_plots=[bars("Value", ATTACK, ["text", ATTACK], [0.1, -0.1], "NDCG", [[0, 0.2], [-0.2, 0]])],
        map=EmbeddingMap(
            points=[
                MapPoint(x=0.25, y=1.0, title=ATTACK, label=0, popularity=0, image=folder / "poster.png"),
                MapPoint(x=0.0, y=0.5, title="no picture", label=-1, popularity=1, image=folder / "broken.jpg"),
            ],
            labels=[ATTACK],
            popularity=["5 to 9 users", ""],
            num_items=50,
        ),
        samples=[Sample(user=ATTACK, history=cards, recommended=cards)],
        failures=[Sample(user="failed", history=[], recommended=[], missed=Card(title=ATTACK), missed_at="rank 40")],
        study=study(folder),
        settings=f'name = "{ATTACK}"',
        provenance={"seed": 0, ATTACK: ATTACK},
    )
