"""A CONNECT proxy on loopback, with or without TLS inspection, and a server with TLS in front of another.

Real sockets, and certificates of an authority of their own.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LOOPBACK = "127.0.0.1"


class Authority:
    """A certificate authority with one server certificate for loopback.

    Parameters
    ----------
    folder
        Where its files go: ``ca.pem``, and the server's certificate with its key.
    days
        By how much the server's certificate, valid for a day before and after, is not of now.
    """

    def __init__(self, folder: Path, name: str, days: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file, server_file = folder / "ca.pem", folder / "server.pem"
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        key_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        may_sign = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        root = self._certificate(ca, ca, ca_key, ca_key, {constraints: True, may_sign: True, key_id: False})
        own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, LOOPBACK)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))])
        signed_by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id)
        server = self._certificate(own, ca, key, ca_key, {names: False, signed_by: False}, days)
        self.ca_file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        server_file.write_bytes(
            server.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(server_file)

    @staticmethod
    def _certificate(
        subject: x509.Name,
        issuer: x509.Name,
        key: Any,
        signer: Any,
        extensions: dict[x509.ExtensionType, bool],
        days: int = 0,
    ) -> x509.Certificate:
        now = datetime.now(UTC) + timedelta(days=days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension, critical in extensions.items():
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256())


class Proxy:
    """What a running proxy was asked for: ``HOST:PORT`` of each tunnel, in ``asked``."""

    def __init__(self, inspects_as: Authority | None, refusal: bytes) -> None:
        self.asked: list[str] = []
        self.url = ""
        self._inspects_as = inspects_as
        self._refusal = refusal

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, *_ = head.decode().split()
        self.asked.append(target)
        if method != "CONNECT" or self._refusal:
            writer.write(self._refusal or b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return
        host, _, port = target.partition(":")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        if self._inspects_as:
            await writer.start_tls(self._inspects_as.context)
        await _joined((reader, writer), await asyncio.open_connection(host, int(port)))


@contextmanager
def proxy(inspects_as: Authority | None = None, refusal: bytes = b"") -> Iterator[Proxy]:
    """A running proxy. What came over its tunnels goes on in clear if it inspects; ``refusal``: no tunnel."""
    running = Proxy(inspects_as, refusal)
    with _listening(running.serve) as port:
        running.url = f"http://{LOOPBACK}:{port}"
        yield running


@contextmanager
def tls_in_front_of(port: int, authority: Authority) -> Iterator[int]:
    """The port of a server with TLS that passes everything on to another port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _joined((reader, writer), await asyncio.open_connection(LOOPBACK, port))

    with _listening(serve, authority.context) as own_port:
        yield own_port


async def _joined(one: Streams, other: Streams) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    try:
        await asyncio.gather(copy(one[0], other[1]), copy(other[0], one[1]))
    except asyncio.CancelledError:
        for _, writer in (one, other):
            writer.transport.abort()
        raise


@contextmanager
def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> Iterator[int]:
    loop = asyncio.new_event_loop()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError), closing(writer):
            await serve(reader, writer)

    server = loop.run_until_complete(asyncio.start_server(handle, LOOPBACK, 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(_end, loop)
        thread.join()
        loop.close()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(0.1, loop.stop)
