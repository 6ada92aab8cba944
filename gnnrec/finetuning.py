"""The verb train: where the recipe says so, encoders learn the log before the model is trained on what they give.

    OUT/frozen          the run with the encoders as they came: what it has to beat, and the recommender whose users
                        the signal of that name takes
    OUT/encoders/text   the fine-tuned encoder, which new items and ad-hoc queries go through too
    OUT                 the run

Letters: U users, D dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from gnnrec import pipeline
from gnnrec.datasets import Dataset
from gnnrec.encoders.fitted.finetuned import FinetuneConfig, FinetunedConfig, check_trainable
from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.errors import UserError
from gnnrec.files import claim_folder
from gnnrec.fingerprints import fingerprint
from gnnrec.fitting import fit_encoder
from gnnrec.locking import alone_in
from gnnrec.models import Model, has_embeddings
from gnnrec.parallel.settings import ALONE, ParallelConfig
from gnnrec.recipe import FINETUNED, Recipe
from gnnrec.run_folder import FILES, Run
from gnnrec.sinks import follow
from gnnrec.vault import encrypt_folder, is_encrypted

FROZEN = "frozen"


def train(
    dataset: Dataset,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    track: Sequence[str] = (),
    encrypt: bool = False,
    say: Callable[[str], None] = lambda line: None,
    parallel: ParallelConfig = ALONE,
) -> Run:
    """As `pipeline.train`, after the encoders that `recipe.finetune` names were fine-tuned on the train rows.

    A stopped call goes on in whichever part it was. `track`: where else the run is followed, as "mlflow:FOLDER",
    "mlflow:http://…", "wandb:offline" or "wandb:PROJECT". encrypt: nothing plain is written to `out`, by the key in
    the environment (cipher.py); a stopped call goes on encrypted without being told. Raises UserError for an encoder
    that cannot learn, for another way to track, for what would write something plain, and as `pipeline.train`.
    """
    out, recipe = Path(out), (recipe or Recipe()).resolved(dataset)
    if encrypt or is_encrypted(out):
        check_encryptable(recipe, track)
        encrypt_folder(out)
        say(f"{out}: is encrypted; TensorBoard files are left out, since it could not read them")
    if recipe.finetune.chosen() and not (out / "run.json").exists():
        finetune(dataset, out, recipe, say)
    new = not (out / "run.json").exists()  # else it is an error, of which nobody is told
    with follow(track if new else (), out, recipe.to_dict(), say) as sinks:
        run = pipeline.train(dataset, out, recipe, say=say, on_epoch=sinks.log, parallel=parallel)
        sinks.finish(run.metrics.get("metrics", {}))
    return run


def check_encryptable(recipe: Recipe, track: Sequence[str]) -> None:
    """Raises UserError for what other libraries write in plain, and for what is kept in the cache about users."""
    plain = {
        "--track tells others settings and figures": bool(track),
        "graph.profiles keeps texts about users in the cache": recipe.graph.profiles,
        "finetune writes the encoder": bool(recipe.finetune.chosen()),
        "the model sign keeps hops of a large graph in the cache": recipe.model_name == "sign",
    }
    for what, asked in plain.items():
        if asked:
            raise UserError(f"train --encrypt: {what} in plain; allowed: without it")


def finetune(dataset: Dataset, out: Path, recipe: Recipe, say: Callable[[str], None]) -> None:
    """The fine-tuned encoders of a run, and the run with frozen ones where it is asked for."""
    settings = {modality: _settings(dataset, recipe, modality) for modality in recipe.finetune.chosen()}
    plain = replace(recipe, finetune=FinetuneConfig())
    by_recommender = recipe.finetune.signal == "recommender"
    claim_folder(out, FILES)
    with alone_in(out):
        users = None
        if recipe.finetune.frozen or by_recommender:
            frozen = _frozen_run(dataset, out / FROZEN, plain, say)
            users = users_of(frozen.model, frozen.graph) if by_recommender else None
        for modality, config in settings.items():
            folder = out / FINETUNED / modality
            if not folder.exists():
                say(f"{config.base} is fine-tuned ({config.how})")
                made = fit_encoder(dataset, folder, "finetuned", config, recipe=plain, users=users)
                figures = [f"{name} {value:.4f}" for name, value in made["ndcg@10"].items()]
                say(f"lists by {modality} alone, NDCG@10 on validation: {', '.join(figures)}")
            facts = read_facts(folder) or {}
            if (facts.get("settings"), facts.get("learnt_from")) != (
                asdict(config),
                pipeline.learnt_from(dataset, recipe),
            ):
                raise UserError(f"{folder}: was made under other settings or data; choose another --out or delete it")


def users_of(model: Model, graph: HeteroData) -> NDArray[np.float32]:
    """The users' embeddings, of the train rows alone. [U, D] Raises UserError for a model without embeddings."""
    if not has_embeddings(model):
        raise UserError(
            "finetune.signal: found 'recommender', but the model has no embeddings; allowed: history, users"
        )
    model.eval()
    with torch.no_grad():
        return model(graph).user.numpy()


def _settings(dataset: Dataset, recipe: Recipe, modality: str) -> FinetunedConfig:
    base = recipe.encoders.encoder_of(modality)
    if base is None or modality in dataset.item_features:
        found = f"encoders.{modality} is 'none'" if base is None else "its features are made elsewhere"
        raise UserError(f"finetune.{modality}: {found}, so there is no encoder to fine-tune; allowed: none")
    check_trainable(modality, base, f"encoders.{modality}")
    return recipe.finetune.of(modality, base, recipe.encoders.pooling)


def _frozen_run(dataset: Dataset, folder: Path, recipe: Recipe, say: Callable[[str], None]) -> Run:
    if not (folder / "run.json").exists():
        say(f"{folder}: the model with frozen encoders")
        return pipeline.train(dataset, folder, recipe, say=say)
    run = Run.load(folder)
    if run.recipe != recipe or run.provenance["dataset"]["fingerprint"] != fingerprint(dataset):
        raise UserError(f"{folder}: was made under other settings or data; choose another --out or delete it")
    return run
