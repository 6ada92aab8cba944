"""What augmentation does to a dataset: a contact sheet for each modality that it has, and one for the graph."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch_geometric.data import HeteroData

from gnnrec import plots
from gnnrec.datasets import Dataset, split
from gnnrec.encoders.augment import AUGMENTATIONS, AugmentConfig, Sound, alone, augmented
from gnnrec.encoders.media import Unreadable, decode_audio, read_image
from gnnrec.encoders.mel import MelSpectrogram
from gnnrec.graph import INTERACTS, build_graph
from gnnrec.graph_augment import DropoutConfig, edge_dropout, node_dropout
from gnnrec.inspect.facts import Facts, counts
from gnnrec.recipe import Recipe

ROWS = 5  # items on a sheet
SECONDS = 10.0  # of each sound
WINDOW, HOP, BANDS = 1024, 512, 80
HER_ITEMS, OTHERS = 5, 3  # of the user who is drawn; other users of each of these items
MEANING = {  # of a strength, for people
    "crop": "up to {:.0%} off",
    "rotation": "±{:g}°",
    "flip": "probability {:g}",
    "colour": "±{:.0%}",
    "shift": "±{:.0%} of the length",
    "stretch": "±{:.0%}",
    "pitch": "±{:g} semitones",
    "noise": "up to {:.0%} of the sound's level",
    "gain": "±{:g} dB",
    "field_dropout": "probability {:g} each",
    "field_shuffle": "probability {:g}",
    "token_dropout": "probability {:g} each",
    "token_shuffle": "{:.0%} of the tokens of a field",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentations:
    content: AugmentConfig = field(default_factory=AugmentConfig)
    graph: DropoutConfig = field(default_factory=DropoutConfig)
    seed: int = 0


def content_sheets(dataset: Dataset, how: Augmentations) -> Iterator[plots.Plot]:
    """One sheet a modality: the most popular items that have it, as they are, under each augmentation, under all."""
    if dataset.items is None:
        return
    log, titles = dataset.interactions, dataset.items.titles()
    popular = np.argsort(-counts(log.item, log.num_items), kind="stable")
    for modality in dataset.items.modalities():
        contents = dataset.items.content(modality)
        read: dict[str, Any] = {}
        for item in popular:
            content = None if contents[item] is None else _read(modality, contents[item])
            if content is not None:
                read.setdefault(titles[item] or dataset.item_ids[item], content)
            if len(read) == ROWS:
                break
        if read:
            yield _content_sheet(modality, read, how)


def _content_sheet(modality: str, read: dict[str, Any], how: Augmentations) -> plots.Plot:
    names, strengths = list(AUGMENTATIONS[modality]), asdict(how.content)
    columns = [plots.Column("original")]
    columns += [plots.Column(name.replace("_", " "), MEANING[name].format(strengths[name])) for name in names]
    columns.append(plots.Column("all of them"))
    views = [list(read.values())]
    for config in (*(alone(how.content, name) for name in names), how.content):
        views.append(augmented(views[0], modality, config, how.seed))
    rows = {title: [_shown(cell) for cell in cells] for title, cells in zip(read, zip(*views))}
    finding = "each drawn by one seed; below a name its strength"
    if modality == "audio":
        finding += f"; log-mel spectrograms of {SECONDS:g} s at most, low tones below"
    return plots.contact_sheet(f"Augmented {modality}", finding, modality, columns, rows)


def _read(modality: str, content: Any) -> Any:
    """Content as it is augmented; None where it cannot be read."""
    try:
        if modality == "image":
            return read_image(content)
        return Sound(*decode_audio(content, SECONDS)) if modality == "audio" else content
    except (Unreadable, OSError):
        return None


def _shown(content: Any) -> Any:
    """A sound as its spectrogram in dB, [frames, bands]; all else as it is."""
    if not isinstance(content, Sound):
        return content
    mel = MelSpectrogram(content.rate, window=WINDOW, hop=HOP, bands=BANDS)
    return 10 * mel(torch.from_numpy(content.samples)).clamp(min=1e-10).log10().numpy()


def graph_sheet(dataset: Dataset, how: Augmentations) -> tuple[plots.Plot | None, list[Facts]]:
    """A user's surroundings before and after, and the edges of each type; no plot where train has no interactions."""
    train = split(dataset, Recipe().split_config(dataset)).train
    graph = build_graph(train, {}, friends=dataset.friends)
    options = {"degree_aware": how.graph.degree_aware, "content": how.graph.content}
    views = {"before": graph}
    for name, dropout, rate in (
        ("edge_dropout", edge_dropout, how.graph.edges),
        ("node_dropout", node_dropout, how.graph.nodes),
    ):
        views[name] = dropout(graph, rate, torch.Generator().manual_seed(how.seed), **options)
    rows: list[Facts] = [
        {"edges": " ".join(edge_type)} | {name: view[edge_type].edge_index.shape[1] for name, view in views.items()}
        for edge_type in graph.edge_types
    ]
    return (_surroundings(dataset, views, how.graph) if len(train) else None), rows


def _surroundings(dataset: Dataset, views: dict[str, HeteroData], config: DropoutConfig) -> plots.Plot:
    """The first user with enough items (else the one with most), her items, and others who had these."""
    user, item = views["before"][INTERACTS].edge_index.numpy()
    had = np.bincount(user)
    drawn = int(np.argmax(had >= HER_ITEMS) if (had >= HER_ITEMS).any() else had.argmax())
    places: dict[Any, tuple[float, float]] = {}
    edges: list[tuple[Any, Any]] = []
    for place, one in enumerate(list(dict.fromkeys(item[user == drawn].tolist()))[:HER_ITEMS]):
        places["item", one] = (0.48, (place + 0.5) * OTHERS - 0.5)
        edges.append((("user", drawn), ("item", one)))
        others = dict.fromkeys(user[item == one].tolist())
        # Those who had least: few lines cross.
        met = (("user", other) for other in sorted(others, key=had.__getitem__) if other != drawn)
        new = [node for node in met if node not in places][:OTHERS]
        for number, node in enumerate(new):
            places[node] = (1.0, place * OTHERS + number)
    items, users = ({node for node in places if node[0] == kind} for kind in ("item", "user"))
    places["user", drawn] = (0.0, (len(items) * OTHERS - 1) / 2)
    pairs = set(zip(user.tolist(), item.tolist()))
    edges += [(node, other) for node in sorted(users) for other in sorted(items) if (node[1], other[1]) in pairs]
    titles = dataset.items.titles() if dataset.items else (None,) * len(dataset.item_ids)
    labels = {node: titles[node[1]] or dataset.item_ids[node[1]] for node in items}
    labels["user", drawn] = f"user {dataset.user_ids[drawn]}"
    names = {"edge_dropout": f"edge dropout {config.edges:g}", "node_dropout": f"node dropout {config.nodes:g}"}
    panels = [_panel(names.get(name, name), view, places, edges) for name, view in views.items()]
    finding = f"user {dataset.user_ids[drawn]}, things she had, and others who had them; counts are of all train rows"
    return plots.graph_sheet("Augmented graph", finding, panels, places, labels, edges)


def _panel(name: str, view: HeteroData, places: dict[Any, Any], edges: list[tuple[Any, Any]]) -> plots.Panel:
    user, item = view[INTERACTS].edge_index.numpy()
    pairs = set(zip(user.tolist(), item.tolist()))
    with_any = {"user": set(user.tolist()), "item": set(item.tolist())}
    lines = [
        f"{len(user):,} interactions, of {len(with_any['user']):,} users with {len(with_any['item']):,} items",
        ", ".join(f"{view[kind].edge_index.shape[1]:,} {kind[1]}" for kind in view.edge_types if kind[0] == kind[2]),
    ]
    return plots.Panel(
        name,
        [line for line in lines if line],
        frozenset(node for node in places if node[1] in with_any[node[0]]),
        frozenset(edge for edge in edges if (edge[0][1], edge[1][1]) in pairs),
    )


def strengths(dataset: Dataset, how: Augmentations) -> list[Facts]:
    """The augmentations of each modality that the items have."""
    amounts = asdict(how.content)
    return [
        {"modality": modality, "augmentation": name, "strength": amounts[name]}
        for modality in (dataset.items.modalities() if dataset.items else ())
        for name in AUGMENTATIONS[modality]
    ]
