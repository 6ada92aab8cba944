"""Modalities of one item brought into one space, by CCA, by InfoNCE or by ridge regression; retrieval says how well."""

from gnnrec.alignment.cca import CCA, fit_cca
from gnnrec.alignment.contrastive import Aligner, ContrastConfig, fit_contrastive
from gnnrec.alignment.retrieval import Retrieval, chance, retrieve
from gnnrec.alignment.ridge import Ridge, fit_ridge

__all__ = [
    "CCA",
    "Aligner",
    "ContrastConfig",
    "Retrieval",
    "Ridge",
    "chance",
    "fit_cca",
    "fit_contrastive",
    "fit_ridge",
    "retrieve",
]
