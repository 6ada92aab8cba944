"""The models by name. A new one is one file and one line here."""

from typing import Any

from gnnrec.models.base import (
    ClosedFormModel,
    EmbeddingModel,
    Embeddings,
    Model,
    embeddings_of,
    has_embeddings,
    model_scorer,
    user_scores,
)
from gnnrec.models.dp_filter import DPFilter, DPFilterConfig
from gnnrec.models.dp_mf import DPMF, DPMFConfig
from gnnrec.models.dp_tower import DPTower, DPTowerConfig
from gnnrec.models.ease import EASE, EASEConfig
from gnnrec.models.graph_filter import GraphFilter, GraphFilterConfig
from gnnrec.models.ials import IALS, IALSConfig
from gnnrec.models.item_knn import ItemKNN, ItemKNNConfig
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig
from gnnrec.models.mf import MF, MFConfig
from gnnrec.models.modality_gnn import ModalityGNN, ModalityGNNConfig
from gnnrec.models.popularity import Popularity, PopularityConfig
from gnnrec.models.sasrec import SASRec, SASRecConfig
from gnnrec.models.sgl import SGL, SGLConfig
from gnnrec.models.sign import Sign, SignConfig
from gnnrec.models.slim import SLIM, SLIMConfig
from gnnrec.models.slist import SLIST, SLISTConfig
from gnnrec.models.tower import Tower, TowerConfig
from gnnrec.models.transition import Transition, TransitionConfig
from gnnrec.models.vbpr import VBPR, VBPRConfig
from gnnrec.models.xsimgcl import XSimGCL, XSimGCLConfig

MODELS: dict[str, tuple[Any, Any]] = {
    "popularity": (Popularity, PopularityConfig),
    "item_knn": (ItemKNN, ItemKNNConfig),
    "ease": (EASE, EASEConfig),
    "dp_filter": (DPFilter, DPFilterConfig),
    "dp_mf": (DPMF, DPMFConfig),
    "dp_tower": (DPTower, DPTowerConfig),
    "slim": (SLIM, SLIMConfig),
    "transition": (Transition, TransitionConfig),
    "slist": (SLIST, SLISTConfig),
    "ials": (IALS, IALSConfig),
    "graph_filter": (GraphFilter, GraphFilterConfig),
    "mf": (MF, MFConfig),
    "lightgcn": (LightGCN, LightGCNConfig),
    "xsimgcl": (XSimGCL, XSimGCLConfig),
    "sgl": (SGL, SGLConfig),
    "sasrec": (SASRec, SASRecConfig),
    "sign": (Sign, SignConfig),
    "vbpr": (VBPR, VBPRConfig),
    "tower": (Tower, TowerConfig),
    "modality_gnn": (ModalityGNN, ModalityGNNConfig),
}

__all__ = [
    "MODELS",
    "ClosedFormModel",
    "EmbeddingModel",
    "Embeddings",
    "Model",
    "embeddings_of",
    "has_embeddings",
    "model_scorer",
    "user_scores",
]
