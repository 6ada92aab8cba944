"""The cross-modal study: which modalities agree, which predict what is taken together, what each one is worth."""

from gnnrec.modalities.study import SECTIONS, StudyConfig, study_modalities

__all__ = ["SECTIONS", "StudyConfig", "study_modalities"]
