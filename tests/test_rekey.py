"""Another key: the old one opens nothing any more, and a stop at any moment leaves a folder that opens."""

import pytest

from gnnrec import files, rekey, vault
from gnnrec.cipher import new_key_file, user_key
from gnnrec.errors import UserError
from gnnrec.sealed_log import SealedLog, read_records

CONTENT = {"a.json": b"{}", "b.safetensors": b"tensors" * 1000, "c.csv": b""}


@pytest.fixture
def keys(tmp_path, monkeypatch):
    """Files of two keys; the environment names the first."""
    paths = tmp_path / "old", tmp_path / "new"
    for path in paths:
        new_key_file(path)
    monkeypatch.delenv("GNNREC_KEY", raising=False)
    monkeypatch.setenv("GNNREC_KEY_FILE", str(paths[0]))
    return paths


@pytest.fixture
def folder(keys, tmp_path):
    vault.encrypt_folder(tmp_path / "folder")
    for name, data in CONTENT.items():
        vault.write_bytes(tmp_path / "folder" / name, data)
    return tmp_path / "folder"


@pytest.fixture
def log(keys, tmp_path):
    vault.encrypt_file(tmp_path / "log")
    opened = SealedLog(tmp_path / "log")
    for record in (b"one", b"two"):
        opened.append(record)
    opened.close()
    return tmp_path / "log"


def read_all(folder):
    return {name: vault.read_bytes(folder / name) for name in CONTENT}


def sealed(folder):
    return {name: (folder / name).read_bytes() for name in CONTENT}


def test_only_the_data_keys_are_sealed_anew(folder, keys, monkeypatch):
    before = sealed(folder)
    assert rekey.rekey(folder, user_key(keys[1])) == 0
    assert sealed(folder) == before
    with pytest.raises(UserError, match="needs the key .* found .* allowed: the right key"):
        read_all(folder)
    monkeypatch.setenv("GNNREC_KEY_FILE", str(keys[1]))
    assert read_all(folder) == CONTENT


def test_deep_gives_every_file_a_new_data_key(folder, keys, monkeypatch):
    old, stolen = sealed(folder), (folder / "data-keys.json").read_bytes()
    assert rekey.rekey(folder, user_key(keys[1]), deep=True) == len(CONTENT)
    assert not set(old.values()) & set(sealed(folder).values())
    monkeypatch.setenv("GNNREC_KEY_FILE", str(keys[1]))
    assert read_all(folder) == CONTENT
    (folder / "data-keys.json").write_bytes(stolen)  # who kept the old envelope and the old key opens nothing of now
    monkeypatch.setenv("GNNREC_KEY_FILE", str(keys[0]))
    with pytest.raises(UserError, match="data key is not in data-keys.json"):
        read_all(folder)


@pytest.mark.parametrize("stop", range(5))
def test_killed_before_any_rename_it_opens_and_the_same_command_ends_it(folder, keys, monkeypatch, stop):
    """5 renames: data-keys.json with both data keys, three files, data-keys.json with the new one."""
    done, really = [], files.Path.replace

    def replace(self, target):
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(target)
        return really(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.Path, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            rekey.rekey(folder, user_key(keys[1]), deep=True)
    with monkeypatch.context() as patched:
        patched.setenv("GNNREC_KEY_FILE", str(keys[1 if stop else 0]))
        assert read_all(folder) == CONTENT
    before = sealed(folder)
    assert rekey.rekey(folder, user_key(keys[1]), deep=True) == len(CONTENT) - max(stop - 1, 0)
    after = sealed(folder)
    assert sum(before[name] == after[name] for name in CONTENT) == max(stop - 1, 0)  # what was done is not done again
    monkeypatch.setenv("GNNREC_KEY_FILE", str(keys[1]))
    assert read_all(folder) == CONTENT
    assert (folder / "data-keys.json").read_text().count(":") == 4  # format, key, data_keys and one of these


@pytest.mark.parametrize("deep", [False, True])
def test_a_feedback_log_has_it_too(log, keys, monkeypatch, deep):
    before = log.read_bytes()
    rekey.rekey(log, user_key(keys[1]), deep=deep)
    assert (log.read_bytes() == before) is not deep
    monkeypatch.setenv("GNNREC_KEY_FILE", str(keys[1]))
    assert read_records(log) == [b"one", b"two"]
    assert log.stat().st_mode & 0o777 == 0o600
    opened = SealedLog(log)
    with pytest.raises(UserError, match="another process writes it now"):
        rekey.rekey(log, deep=True)
    opened.append(b"three")
    opened.close()
    assert read_records(log) == [b"one", b"two", b"three"]


def test_the_command(run_command, one_document, folder, keys, tmp_path):
    new = user_key(keys[1]).id.hex()
    assert one_document("rekey", folder, "--new-key", keys[1], "--deep") == {
        "path": str(folder),
        "key": new,
        "files_encrypted_anew": 3,
    }
    for arguments, said in (
        ((folder,), "rekey: nothing to do"),
        ((folder, "--deep"), f"data-keys.json: needs the key {new}, found {user_key(keys[0]).id.hex()}"),
        ((tmp_path, "--deep"), f"{tmp_path}: is not encrypted"),
        ((tmp_path / "nowhere", "--deep"), "no such file or folder"),
    ):
        status, out, err = run_command("rekey", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1) and said in err


def test_a_changed_file_stops_it(folder, keys):
    content = bytearray((folder / "b.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "b.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"b\.safetensors: was changed"):
        rekey.rekey(folder, deep=True)
    assert vault.read_bytes(folder / "a.json") == CONTENT["a.json"]
