"""gnnrec: multimodal recommendations from an interaction log and the items' text, pictures and sound."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gnnrec.cleaning import clean
    from gnnrec.datasets import Dataset, SplitConfig, split
    from gnnrec.errors import UserError
    from gnnrec.export import export_embeddings, import_embeddings
    from gnnrec.finetuning import train
    from gnnrec.inspect import inspect_folder
    from gnnrec.llm.explainer import Explainer
    from gnnrec.pipeline import evaluate
    from gnnrec.recipe import Recipe, load_recipe
    from gnnrec.recommend import Recommendation, Recommender
    from gnnrec.run_folder import Run
    from gnnrec.tuning import tune_settings

# Public name -> its module. Imported when first asked for, so that `gnnrec --help` does not wait for torch.
_PUBLIC = {
    "Dataset": "gnnrec.datasets",
    "Explainer": "gnnrec.llm.explainer",
    "Recipe": "gnnrec.recipe",
    "Recommendation": "gnnrec.recommend",
    "Recommender": "gnnrec.recommend",
    "Run": "gnnrec.run_folder",
    "SplitConfig": "gnnrec.datasets",
    "UserError": "gnnrec.errors",
    "clean": "gnnrec.cleaning",
    "evaluate": "gnnrec.pipeline",
    "export_embeddings": "gnnrec.export",
    "import_embeddings": "gnnrec.export",
    "inspect_folder": "gnnrec.inspect",
    "load_recipe": "gnnrec.recipe",
    "split": "gnnrec.datasets",
    "train": "gnnrec.finetuning",
    "tune_settings": "gnnrec.tuning",
}

__all__ = [
    "Dataset",
    "Explainer",
    "Recipe",
    "Recommendation",
    "Recommender",
    "Run",
    "SplitConfig",
    "UserError",
    "clean",
    "evaluate",
    "export_embeddings",
    "import_embeddings",
    "inspect_folder",
    "load_recipe",
    "split",
    "train",
    "tune_settings",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'gnnrec' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
