"""A rented upstream speaks TLS, and its certificate is checked."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment
from services.inference_gateway.proxy.tests.test_completions import ask


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate for `localhost`, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, *formats))
    return pem, key_pem


@pytest.mark.parametrize("trusted", [True, False])
async def test_an_https_upstream_is_asked_if_its_certificate_is_trusted(start, certificate, monkeypatch, trusted):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    engine = upstreams.Raw(upstreams.answers("over TLS"))
    async with await asyncio.start_server(engine.serve, "localhost", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        running = await start(deployment(Target("t1", upstream_url=f"https://localhost:{port}/v1")))
        if trusted:
            assert (await ask(running)).choices[0].message.content == "over TLS"
            assert f"host: localhost:{port}\r\n".encode() in engine.requests[0]
        else:
            with pytest.raises(openai.InternalServerError, match="certificate"):
                await ask(running)
            assert not engine.requests
        running.gateway.pools.close()
