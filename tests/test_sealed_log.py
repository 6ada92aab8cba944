"""The encrypted feedback log: what was acknowledged is there, what was changed is refused."""

import os

import pytest

from gnnrec.cipher import HEADER
from gnnrec.errors import UserError
from gnnrec.sealed_log import SealedLog, read_records
from gnnrec.serve.feedback import FeedbackLog
from gnnrec.vault import encrypt_file

RECORDS = [b"first", b"second " * 20, b"third"]


pytestmark = pytest.mark.usefixtures("encryption_key")


@pytest.fixture
def log(tmp_path):
    """A log of RECORDS, closed: two segments."""
    path = tmp_path / "log"
    encrypt_file(path)
    write(path, *RECORDS[:2])
    write(path, RECORDS[2])
    return path


def write(path, *records):
    log = SealedLog(path)
    for record in records:
        log.append(record)
    log.close()


def test_records_come_back_in_order_over_several_openings(log):
    assert read_records(log) == RECORDS
    assert log.stat().st_mode & 0o777 == 0o600
    assert not any(record[:5] in log.read_bytes() for record in RECORDS)


def test_one_flipped_bit_anywhere_is_refused(log):
    content = log.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1
        log.write_bytes(changed)
        with pytest.raises(UserError, match=str(log)):
            read_records(log)
        with pytest.raises(UserError):  # and nothing is appended to it
            SealedLog(log)


def test_a_record_cannot_be_taken_out_repeated_or_moved(log):
    content = log.read_bytes()
    first = len(RECORDS[0]) + 8 + 16
    head, one, rest = content[:HEADER], content[HEADER : HEADER + first], content[HEADER + first :]
    for order in (head + rest, head + one + one + rest, content[len(content) - 77 :], content + content[:HEADER] + one):
        log.write_bytes(order)
        with pytest.raises(UserError):
            read_records(log)


def test_what_a_crash_cut_off_is_left_out_and_what_follows_takes_its_place(log):
    whole = log.read_bytes()
    last = whole.rindex(b"gnnrec\x00\x01")  # the segment of the third record
    for length in range(last, len(whole)):
        log.write_bytes(whole[:length])
        assert read_records(log) == RECORDS[:2]
    torn = log.read_bytes()
    write(log, b"after")
    assert read_records(log) == [*RECORDS[:2], b"after"]
    assert log.read_bytes()[last:][16:HEADER] != torn[last:][16:HEADER]  # another salt: no nonce twice under one key


def test_a_file_that_grew_before_it_was_filled_is_cut_off(log):
    with log.open("ab") as file:
        file.write(bytes(500))
    assert read_records(log) == RECORDS
    write(log, b"after")
    assert read_records(log) == [*RECORDS, b"after"]


def test_a_full_disk_amid_a_record_loses_that_record_alone(log, monkeypatch):
    opened, really = SealedLog(log), os.write
    monkeypatch.setattr(os, "write", lambda file, data: really(file, data[:7]) if len(data) < 70 else full(data))

    def full(data):
        monkeypatch.setattr(os, "write", really)
        really(opened.descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        opened.append(b"lost")
    opened.append(b"kept")
    opened.append(b"and this")
    opened.close()
    assert read_records(log) == [*RECORDS, b"kept", b"and this"]


def test_two_processes_do_not_append_at_once(log):
    opened = SealedLog(log)
    with pytest.raises(UserError, match="another process writes it now"):
        SealedLog(log)
    opened.close()
    write(log, b"now")


def test_a_plain_log_is_not_mixed_with_an_encrypted_one(tmp_path, log):
    FeedbackLog(tmp_path / "plain").append([{"user": "u", "item": "i", "timestamp": 1}])
    with pytest.raises(UserError, match="holds what is not encrypted"):
        encrypt_file(tmp_path / "plain")
    log.write_bytes((tmp_path / "plain").read_bytes())
    with pytest.raises(UserError, match="was changed"):
        read_records(log)
