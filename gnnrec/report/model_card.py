"""The model card of a run in Markdown, after Mitchell et al. 2019, "Model cards for model reporting"."""

from collections.abc import Sequence

from gnnrec.encoders.known_models import PRETRAINED
from gnnrec.private_runs import private_line
from gnnrec.report.data import ModelRow, ReportData
from gnnrec.report.html import metric_name, number
from gnnrec.run_folder import Run

FEW_USERS = 1000  # in the split: below, intervals are wide
TEMPLATE = """\
# Model card: {title}

{subtitle}. Made by `gnnrec report`, which writes it anew; the whole report is the HTML file beside it.

## Model

- Kind: `{model}` of gnnrec {version}, {parameters:,} parameters
- Kept epoch: {epoch}; training took {seconds:,.0f} s on {machine}
- Energy: {energy}

## Intended use

To order the items of this catalogue for users of this data, and for new users and items as far as the commands of
gnnrec say; offline, and with people who look at the lists before others rely on them. Not for decisions about people:
credit, work, housing, health, law, or what a user is like. Scores of different users do not compare.

## Data

{facts}

## Metrics

On the {split} split, full catalogue, with 95 % intervals (bootstrap over users). Recall divides by all relevant items.

{metrics}

## Encoders

{encoders}

## Limits

{limits}

## Licences

- Data: {licence}. The licence of the data may also bind what was learnt from it.
- Encoders: as in the table above.
- gnnrec: MIT, for the code alone.
"""


def model_card(run: Run, data: ReportData) -> str:
    told = run.provenance
    return TEMPLATE.format(
        title=plain(data.title),
        subtitle=plain(data.subtitle),
        model=run.recipe.model_name,
        version=told["versions"]["gnnrec"],
        parameters=sum(parameter.numel() for parameter in run.model.parameters()),
        epoch=f"{told['best_epoch']} of {told['epochs']}" if told["epochs"] else "none, it is computed at once",
        seconds=told["training_seconds"],
        machine=plain(told["machine"]["platform"]),
        energy=data.provenance["energy estimate"],
        facts="\n".join(f"- {plain(name)}: {plain(number(value))}" for name, value in data.facts.items()),
        split=data.subtitle.split()[0],
        metrics=metrics_table(data.models),
        encoders=encoders_table(run),
        limits="\n".join(f"- {limit}" for limit in limits(run, data)),
        licence=plain(told["dataset"]["licence"] or "not stated"),
    )


def metrics_table(rows: Sequence[ModelRow]) -> str:
    names = list(rows[0].metrics)
    lines = [["model", *(metric_name(name) for name in names)]]
    lines += [
        [
            plain(row.name),
            *(
                f"{row.metrics[name]:.4f} [{row.confidence[name][0]:.4f}, {row.confidence[name][1]:.4f}]"
                for name in names
            ),
        ]
        for row in rows
    ]
    return table(lines)


def encoders_table(run: Run) -> str:
    lines = [["content", "encoder", "licence"]]
    for owner, made in run.provenance["encoders"].items():
        for modality, encoder in made.items():
            known = PRETRAINED.get(encoder.partition("@")[0])
            lines.append([f"{modality} of {owner}", plain(encoder), known.licence if known else "its own, see there"])
    return table(lines) if len(lines) > 1 else "None: the model knows who took what, and no content."


def limits(run: Run, data: ReportData) -> list[str]:
    """What a reader has to know before trusting the figures, from the figures themselves."""
    ours = data.models[0]
    found = [
        "Offline figures: what users would do with other lists than those they saw is not known.",
        "The log holds what people met; what was shown to few is recommended to few.",
    ]
    if "privacy" in run.provenance:
        found.append(
            f"Differential privacy: {private_line(run.provenance['privacy'])}. User vectors are no part of it."
        )
    better = [row.name for row in data.models[1:] if row.metrics["ndcg@10"] > ours.metrics["ndcg@10"]]
    if better:
        found.append(f"By NDCG@10 these stand above it here: {', '.join(plain(name) for name in better)}.")
    coverage = data.beyond[ours.name]["coverage@10"]
    found.append(f"{1 - coverage:.0%} of the catalogue is in nobody's first ten.")
    cold = data.cohorts[ours.name]["cold_items"]
    if cold.get("users"):
        found.append(f"Items never seen in train: NDCG@10 {cold['ndcg@10']:.4f} in the full catalogue.")
    else:
        found.append("No user of the split wanted an item that train does not hold: cold items are not measured.")
    activity = data.cohorts[ours.name]["user_activity"]
    name, worst = min(activity.items(), key=lambda pair: pair[1]["ndcg@10"])
    found.append(f"Users of activity {name} are served worst: NDCG@10 {worst['ndcg@10']:.4f}.")
    users = run.metrics.get("users")
    if users is not None and users < FEW_USERS:
        found.append(f"{users:,} users choose the epoch: a difference within the intervals is none.")
    return found


def table(lines: list[list[str]]) -> str:
    head, *rows = lines
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def plain(text: str) -> str:
    """Words of the data in a line, without what Markdown or HTML would take as their own."""
    words = " ".join(text.split())
    for sign in "\\`*_[]<>|#":
        words = words.replace(sign, f"\\{sign}")
    return words
