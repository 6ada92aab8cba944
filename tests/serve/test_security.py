"""Keys are kept as hashes, tell callers apart and have roles; a rate lets through what it says."""

import json
import re
from pathlib import Path

import pytest

from gnnrec.errors import UserError
from gnnrec.serve.security import Keys, RateLimit, add_key


def test_a_key_is_known_again_and_stands_nowhere(tmp_path):
    path = tmp_path / "keys.json"
    shop, boss = add_key(path, "shop"), add_key(path, "boss", "admin")
    keys = Keys(path)
    assert (keys.caller(shop).name, keys.caller(shop).role) == ("shop", "client")
    assert (keys.caller(boss).name, keys.caller(boss).role) == ("boss", "admin")
    assert keys.caller(shop[:-1]) is None and keys.caller("") is None
    text = path.read_text()
    assert shop not in text and boss not in text
    assert len(re.findall(r"[0-9a-f]{64}", text)) == 2


def test_a_file_that_could_not_be_read_once_is_read_again(tmp_path, monkeypatch, capsys):
    """Want of handles passes without a change of the file."""
    path = tmp_path / "keys.json"
    shop = add_key(path, "shop")
    keys = Keys(path)
    boss = add_key(path, "boss", "admin")

    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as short_of_handles:
        short_of_handles.setattr(Path, "read_text", fail)
        for _ in range(2):
            with pytest.raises(UserError, match="come again"):
                keys.caller(shop)
    assert capsys.readouterr().err.count("Too many open files") == 1
    assert (keys.caller(shop).name, keys.caller(boss).name) == ("shop", "boss")


def test_the_command_shows_the_key_once(run_command, tmp_path):
    path = tmp_path / "keys.json"
    status, out, err = run_command("key", path, "shop", "--admin")
    assert (status, err) == (0, "") and Keys(path).caller(out.strip()).role == "admin"
    status, _, err = run_command("key", path, "shop")
    assert status == 2 and "has a key named 'shop'" in err


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", '{"keys": [{"name": "x"}]}', '{"keys": 3}'),
        '{"keys": [{"sha256": ["x"], "name": "x", "role": "admin"}]}',
        '{"keys": [{"sha256": "x", "name": ["x"], "role": "admin"}]}',
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(UserError, match="no file of keys"):
        Keys(path)


def test_an_unknown_role_is_refused(tmp_path):
    path = tmp_path / "keys.json"
    add_key(path, "shop")
    path.write_text(json.dumps(json.loads(path.read_text())).replace("client", "king"))
    with pytest.raises(UserError, match="role 'king'; allowed: client, admin"):
        Keys(path)


def test_a_rate_lets_through_twice_as_many_at_once_and_then_what_it_says():
    now = [0.0]
    limit = RateLimit(10.0, clock=lambda: now[0])
    assert [limit.wait("a") for _ in range(20)] == [0.0] * 20
    assert limit.wait("a") == pytest.approx(0.1)
    assert limit.wait("b") == 0.0  # another caller has tokens of her own
    passed = 0
    for _ in range(1000):  # ten seconds of a hundred tries a second
        now[0] += 0.01
        passed += limit.wait("a") == 0.0
    assert passed == pytest.approx(100, abs=1)


def test_no_rate_is_no_limit():
    limit = RateLimit(0.0)
    assert {limit.wait("a") for _ in range(1000)} == {0.0}


def test_a_file_of_keys_that_is_closed_to_others_stays_so(tmp_path):
    path = tmp_path / "keys.json"
    add_key(path, "shop")
    path.chmod(0o640)
    key = add_key(path, "another")
    assert path.stat().st_mode & 0o777 == 0o640 and Keys(path).caller(key).name == "another"


def test_a_file_into_which_anybody_may_write_lets_nobody_in(tmp_path):
    path = tmp_path / "keys.json"
    shop = add_key(path, "shop")
    keys = Keys(path)
    path.chmod(0o666)
    with pytest.raises(UserError, match=f"anybody here may write keys into it; allowed: after chmod o-w {path}"):
        Keys(path)
    with pytest.raises(UserError, match="cannot be read now"):
        keys.caller(shop)
    path.chmod(0o664)
    assert keys.caller(shop).name == Keys(path).caller(shop).name == "shop"
