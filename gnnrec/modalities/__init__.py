"""The cross-modal study: which modalities agree, which predict what is taken together, what each one is worth."""

from gnnrec.modalities.pictures import draw_study
from gnnrec.modalities.study import SECTIONS, study_modalities

__all__ = ["SECTIONS", "draw_study", "study_modalities"]
