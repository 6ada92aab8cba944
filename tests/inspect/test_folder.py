import pytest
from PIL import Image

from gnnrec.errors import UserError
from gnnrec.inspect import inspect_folder

TRAINING = ("training_loss", "validation")


def test_pictures_are_written(tiny_data, tiny_runs, tmp_path):
    _, of_data = inspect_folder(tiny_data, tmp_path / "data")
    assert [path.stem for path in of_data] == ["long_tail", "activity", "ratings", "time"]
    _, of_run = inspect_folder(tiny_runs["default"], tmp_path / "run", "u7")
    assert [path.stem for path in of_run] == ["long_tail", "activity", "ratings", "time", *TRAINING, "neighbourhood"]
    for path in of_data + of_run:
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert len(image.convert("RGB").getcolors(1 << 20)) > 10  # something is drawn
    assert sorted(of_run) == sorted((tmp_path / "run").iterdir())


def test_mistakes_are_named(tiny_data, tiny_runs, tmp_path):
    with pytest.raises(UserError, match="--user needs a run"):
        inspect_folder(tiny_data, tmp_path, "u1")
    with pytest.raises(UserError, match="no user with the id 'nobody'; there are 40, for example"):
        inspect_folder(tiny_runs["default"], tmp_path, "nobody")
    with pytest.raises(UserError):
        inspect_folder(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="holds an unfinished run"):
        inspect_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
