import io
import time

import pytest

from gnnrec.progress import progress, without_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch):
    """What stands on a stderr after work of so many seconds, where a bar comes after a tenth of a second."""

    def work(stderr: io.StringIO, seconds: float) -> str:
        monkeypatch.setattr("gnnrec.progress.AFTER", 0.1)
        monkeypatch.setattr("sys.stderr", stderr)
        for _ in progress(range(4), text="counting", unit="row"):
            time.sleep(seconds / 4)
        return stderr.getvalue()

    return work


def test_long_work_shows_how_far_it_is_on_a_terminal(shown) -> None:
    assert "counting:  75%" in shown(Terminal(), 0.6)


def test_short_work_shows_nothing(shown) -> None:
    assert "counting" not in shown(Terminal(), 0.02)


def test_a_file_gets_no_bar(shown) -> None:
    assert shown(io.StringIO(), 0.6) == ""


def test_a_bar_can_be_hidden(shown) -> None:
    with without_progress():
        assert shown(Terminal(), 0.6) == ""
    assert "counting" in shown(Terminal(), 0.6)
