"""Encoders that are fitted here, to one's own texts, pictures or sounds, and to the log of who took them.

Each is a folder that `encoders.MODALITY=FOLDER` takes as any other: `encoder.json` says its kind, the rest is data.
"""
