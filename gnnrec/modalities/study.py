"""E"""
SECTIONS = StudyConfig = study_modalities = None
