"""HTTPS by a certificate that is made here, and encrypted feedback, by a service as a process."""

import datetime
import ipaddress
import json
import socket
import ssl
import warnings
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gnnrec.cipher import new_key_file
from gnnrec.datasets import read_events
from gnnrec.serve.security import add_key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Files of a certificate for 127.0.0.1, signed by itself, and of its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def version_of(host, port, version):
    """What is agreed on with a client that speaks this version alone, and takes any cipher and certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with socket.create_connection((host, port), timeout=10) as raw, context.wrap_socket(raw) as made:
        return made.version()


def test_https_and_encrypted_feedback(start_server, tiny_runs, certificate, tmp_path, monkeypatch):
    new_key_file(tmp_path / "key")
    monkeypatch.setenv("GNNREC_KEY_FILE", str(tmp_path / "key"))
    server = start_server(tiny_runs["default"], "--tls", *map(str, certificate), "--encrypt")
    assert server.url.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context(cafile=certificate[0])
    with urlopen(f"{server.url}/recommend?user=u0&k=3", timeout=10, context=trusting) as answer:
        assert len(json.load(answer)["items"]) == 3
    body = json.dumps({"user": "teller", "item": "i1"}).encode()
    request = Request(f"{server.url}/feedback", body, {"content-type": "application/json"})
    with urlopen(request, timeout=10, context=trusting) as answer:
        assert answer.status == 201
    assert [event["user"] for event in read_events(server.feedback)] == ["teller"]
    assert b"teller" not in server.feedback.read_bytes()

    with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):  # who does not know the certificate
        urlopen(f"{server.url}/health", timeout=10)
    with pytest.raises(OSError):  # and nothing is answered in plain
        urlopen(server.url.replace("https", "http") + "/health", timeout=10)
    host, port = server.url.removeprefix("https://").split(":")
    assert version_of(host, int(port), ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert version_of(host, int(port), ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(OSError):
        version_of(host, int(port), ssl.TLSVersion.TLSv1_1)

    server.process.kill()
    server.process.wait()
    again = start_server(tiny_runs["default"])  # goes on encrypted without being told
    with urlopen(Request(f"{again.url}/feedback", body, {"content-type": "application/json"}), timeout=10) as answer:
        assert answer.status == 201
    assert [event["user"] for event in read_events(server.feedback)] == ["teller", "teller"]


def test_beyond_this_machine_without_tls_there_is_a_warning(tiny_runs, run_command, tmp_path, certificate):
    add_key(tmp_path / "keys", "shop")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        command = (
            "serve",
            tiny_runs["default"],
            "--port",
            port,
            "--feedback",
            tmp_path / "log",
            "--keys",
            tmp_path / "keys",
        )
        _, _, err = run_command(*command, "--host", "0.0.0.0")
        assert "serve --host 0.0.0.0: without --tls CERT KEY, keys and answers can be read on their way" in err
        for arguments in (("--host", "0.0.0.0", "--tls", *certificate), ("--host", "127.0.0.1")):
            assert "without --tls" not in run_command(*command, *arguments)[2]


def test_what_is_no_certificate_is_one_line(tiny_runs, run_command, tmp_path, certificate):
    (tmp_path / "other.pem").write_text("no certificate")
    command = ("serve", tiny_runs["default"], "--port", 0, "--feedback", tmp_path / "log", "--tls")
    for pair in ((tmp_path / "other.pem", certificate[1]), (certificate[0], certificate[0])):
        status, out, err = run_command(*command, *pair)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"serve --tls {pair[0]} {pair[1]}: cannot be used" in err
