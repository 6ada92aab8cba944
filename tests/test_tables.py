from dataclasses import replace

import pytest

from gnnrec.content_tables import study_tables
from gnnrec.recommend import Recommendation
from gnnrec.tables import (
    comparison_table,
    facts_tables,
    known_as,
    metrics_table,
    recommendations_table,
    shown,
    table,
)


def cells(text):
    return [line.split() for line in text.splitlines() if line.strip()]


def test_numbers_are_as_people_read_them():
    values = (90274, 0.04981, 12.345, 3.1e-6, 0.0, -0.5, True, None, "text", {"a": 1, "b": None}, [1, 2])
    assert [shown(value) for value in values] == [
        "90,274", "0.0498", "12.35", "3.1e-06", "0.0000", "-0.5000", "yes", "–", "text", "a 1, b –", "1, 2",
    ]  # fmt: skip


def test_the_best_of_each_column_is_starred():
    documents = {
        "first": {"metrics": {"ndcg@10": 0.5, "recall@10": 0.25}, "beyond": {"coverage@10": 0.75}},
        "second": {"metrics": {"ndcg@10": 0.125, "recall@10": 0.5}},
    }
    lines = cells(metrics_table(documents, "title"))
    assert " ".join(lines[0]) == "title; * the largest of a column"
    assert lines[1] == ["model", "recall@10", "ndcg@10", "coverage@10"]
    assert lines[-2:] == [["first", "0.2500", "0.5000*", "0.7500*"], ["second", "0.5000*", "0.1250", "–"]]


def test_one_model_has_its_intervals():
    document = {"metrics": {"ndcg@10": 0.5}, "confidence": {"ndcg@10": [0.25, 0.75]}, "beyond": {"coverage@10": 0.125}}
    lines = cells(metrics_table({"m": document}, ""))
    assert ["ndcg@10", "0.5000", "0.2500", "0.7500"] in lines
    assert ["coverage@10", "0.1250", "–", "–"] in lines


def test_differences_have_a_sign():
    row = {
        "difference": 0.25,
        "interval": [-0.5, 1.5],
        "p_t": 1e-5,
        "p_wilcoxon": 0.5,
        "p_randomisation": 0.5,
        "p_holm": 1.0,
    }
    line = cells(comparison_table({"ndcg@10": row}, "a", "b"))[-1]
    assert line == ["ndcg@10", "+0.2500", "-0.5000", "1.50", "1.0e-05", "0.5000", "0.5000", "1.00"]


def test_a_title_cannot_command_the_terminal():
    title = "\x1b[31mred\x1b]0;owned\x07 [bold]not bold[/bold]\nnext 书籍"
    text = recommendations_table([Recommendation(rank=1, id="7", score=0.5, title=title)], "for \x1b user")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]not bold[/bold]" in text
    assert "书籍" in text


def test_a_title_stands_as_people_know_it():
    place = Recommendation(rank=1, id="7", score=0.5, title="Soap &ndash; &amp;\u202e cream")
    assert "Soap – & cream" in recommendations_table([place], "")
    assert known_as(place) == "Soap – & cream"
    assert known_as(replace(place, title=None)) == "7"


def test_a_narrow_terminal_loses_no_sign(monkeypatch):
    monkeypatch.setattr("gnnrec.tables.WIDTH_OF_A_FILE", 40)
    text = table(("name", "number"), [("abcdefghij" * 9, 1234567)], numbers=("number",))
    assert max(len(line) for line in text.splitlines()) <= 40
    assert "1,234,567" in text
    assert sum(text.count(sign) for sign in "cdfghij") == 9 * 7


@pytest.mark.parametrize("empty", [{}, {"section": {}}, {"section": []}])
def test_empty_sections_are_left_out(empty):
    assert facts_tables(empty) == ""


def test_names_of_settings_stay_as_they_are_typed():
    text = facts_tables({"graph_nodes": [{"node_type": "user", "nodes": 1000}], "settings": {"model.init_scale": 1}})
    assert "graph nodes" in text
    assert "node type" in text
    assert "1,000" in text
    assert "model.init_scale" in text


def test_the_study_of_modalities_shows_values_in_their_intervals():
    study = {
        "modalities": [{"modality": "text", "items": 9}],
        "consumption": [
            {"modality": "text", "pairs": 9, "users": 3, "auc": 0.5, "auc_interval": [0.25, 0.75], "gain": None}
        ],
        "ablation": {
            "variants": [],
            "value": [
                {
                    **{"modality": "text", "added": "alone", "measure": "cold items", "users": 3, "p_holm": 0.5},
                    **{"ndcg@10": -0.125, "interval": [-0.25, 0.0625]},
                }
            ],
        },
    }
    lines = cells(study_tables(study))
    assert ["text", "9", "3", "0.500", "[0.250,", "0.750]", "–"] in lines
    assert ["text", "alone", "cold", "items", "3", "-0.1250", "[-0.2500,", "+0.0625]", "0.5000"] in lines
    assert not any("agree" in line for line in lines)
