"""The contact sheets: which there are, what their cells hold, and what is said of the graph."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from gnnrec import plots
from gnnrec.datasets import Dataset
from gnnrec.encoders.augment import AugmentConfig, Sound
from gnnrec.errors import UserError
from gnnrec.graph_augment import DropoutConfig
from gnnrec.inspect import Augmentations, inspect_folder
from gnnrec.inspect.augment import _content_sheet, content_sheets, graph_sheet


def drawn(plot: plots.Plot):
    axes = Figure().add_subplot()
    plot.draw(axes)
    return axes


def test_a_dataset_gets_a_sheet_a_modality_and_one_of_the_graph(tiny_data, tmp_path):
    facts, pictures = inspect_folder(tiny_data, tmp_path, augment=Augmentations())
    sheets = ["augmented_text", "augmented_image", "augmented_graph"]
    assert [path.stem for path in pictures][-3:] == sheets and all(path.stat().st_size > 5000 for path in pictures)
    assert {row["modality"] for row in facts["augmentations"]} == {"text", "image"}
    interactions = facts["augmented_graph"][0]
    assert interactions["edge_dropout"] == round(0.8 * interactions["before"])
    assert interactions["node_dropout"] < interactions["before"]


def test_cells_are_the_original_each_change_alone_and_all_together(tiny_data):
    dataset = Dataset.load(tiny_data)
    off = dataclasses.replace(
        AugmentConfig(), crop=0, rotation=0, colour=0, flip=1, field_shuffle=1, field_dropout=0, token_dropout=0
    )
    text, image = content_sheets(dataset, Augmentations(content=off))
    cells = [picture.get_array() for picture in drawn(image).images]
    assert len(cells) == 5 * 6  # rows by original, four augmentations, all
    original, crop, rotation, flip, colour, together = cells[:6]
    assert np.array_equal(crop, original) and np.array_equal(rotation, original) and np.array_equal(colour, original)
    assert np.array_equal(flip, original[:, ::-1]) and np.array_equal(together, flip)
    words = [label.get_text() for label in drawn(text).texts]
    assert {"original", "field dropout", "token shuffle", "all of them"} <= set(words)


def test_a_sound_becomes_a_spectrogram_and_noise_fills_what_was_silent():
    time = np.arange(8000) / 8000
    tone = Sound((0.3 * np.sin(2 * np.pi * 500 * time)).astype(np.float32), 8000)
    config = dataclasses.replace(AugmentConfig(), shift=0, stretch=0, pitch=0, gain=0, noise=0.5)
    cells = drawn(_content_sheet("audio", {"Beep": tone}, Augmentations(content=config))).images
    original, shift, *_, noise, gain, together = (np.asarray(cell.get_array()) for cell in cells)
    assert original.shape == (80, 16) and np.array_equal(shift, original) and np.array_equal(gain, original)
    assert np.median(noise) > np.median(original) + 20 and np.array_equal(together, noise)
    assert np.argmax(original.mean(1)) == np.argmax(noise.mean(1))  # the tone stays where it is


def test_the_drawn_edges_are_solid_where_they_stay_and_dashed_where_they_go(tiny_data):
    dataset = Dataset.load(tiny_data)
    plot, _ = graph_sheet(dataset, Augmentations(graph=DropoutConfig(edges=0.5, nodes=0.3)))
    lines = [line for line in drawn(plot).lines if len(line.get_xdata()) == 2]  # the rest are nodes
    panel = len(lines) // 3
    dashed = [sum(line.is_dashed() for line in lines[part * panel : (part + 1) * panel]) for part in range(3)]
    assert dashed[0] == 0 and 0 < dashed[1] < panel and 0 < dashed[2] < panel


def test_a_run_has_no_content_to_augment(tiny_runs, tmp_path):
    with pytest.raises(UserError, match="--augment needs a dataset"):
        inspect_folder(tiny_runs["default"], tmp_path, augment=Augmentations())
