"""The verb fit-encoder: an encoder fitted to a dataset becomes a folder, measured beside the one it would replace."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gnnrec
from gnnrec.datasets import Dataset, Split, split
from gnnrec.encoders import default_device
from gnnrec.encoders.augment import AugmentConfig
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import encode_contents
from gnnrec.encoders.fitted.corpus import Corpus, content_ndcg
from gnnrec.encoders.fitted.folder import write_folder
from gnnrec.encoders.fitted.kinds import KINDS
from gnnrec.encoders.huggingface import AUTO
from gnnrec.errors import UserError
from gnnrec.pipeline import learnt_from
from gnnrec.recipe import Recipe


def fit_encoder(
    dataset: Dataset,
    out: Path,
    kind: str,
    config: Any = None,
    *,
    recipe: Recipe | None = None,
    parts: Split | None = None,
    users: NDArray[np.float32] | None = None,
    augment: AugmentConfig | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Fit an encoder of a kind of KINDS to the content of the items, and where it learns the log to the train rows.

    config: of the kind, by default its own. parts: by default the recipe's split; its test rows are not looked at.
    users: [U, D] what a recommender of the same train rows makes of them, for kinds that learn from one. augment: how
    strongly, for kinds that learn from augmented copies. A stopped call of a kind that keeps its state goes on.
    Returns what stands in encoder.json, and "ndcg@10": of lists by content alone on validation, by encoder.
    Raises UserError where the items have no such content, and where `out` holds something.
    """
    recipe, made = recipe or Recipe(), KINDS[kind]
    recipe.refuse_finetuning("fit-encoder")
    config = made.config() if config is None else config
    modality = made.modality_of(config)
    contents = dataset.items.content(modality) if dataset.items else ()
    if not any(content is not None for content in contents):
        raise UserError(f"{dataset.root}: no item has {modality}, so there is nothing to fit an encoder to")
    whole = parts or split(dataset, recipe.split_config(dataset))
    corpus = Corpus(
        contents=contents,
        train=whole.train,
        val=whole.val,
        device=default_device(),
        audio_seconds=recipe.encoders.audio_seconds,
        users=users,
        augment=augment or AugmentConfig(),
        checkpoint=(checkpoint := out.with_name(f"{out.name}.checkpoint.safetensors")),
    )
    facts = {
        "kind": kind,
        "modality": modality,
        "settings": asdict(config),
        "augment": asdict(corpus.augment),
        "gnnrec": gnnrec.__version__,
        "learnt_from": learnt_from(dataset, recipe) if made.learns_log else None,
    }
    found: dict[str, Any] = {}

    def fill(folder: Path) -> dict[str, Any]:
        found.update(made.fit(corpus, config, folder))
        return found

    write_folder(out, facts, fill)
    checkpoint.unlink(missing_ok=True)
    beside = found.get("base") or recipe.encoders.encoder_of(modality)
    figures = {}
    for name in filter(None, (beside, str(out))):
        say(f"content alone by {name}")
        encoder = open_encoder(modality, name, corpus.device, recipe.encoders.pooling if name != str(out) else AUTO)
        figures[name] = content_ndcg(encode_contents(contents, modality, encoder, recipe.encoders), corpus)
    return facts | found | {"ndcg@10": figures}
