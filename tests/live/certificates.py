"""A certificate for TLS on loopback."""

import ssl
from pathlib import Path

import trustme


def certificate(folder: Path) -> tuple[tuple[str, ...], ssl.SSLContext]:
    """gunicorn's arguments, and a client's context that trusts them."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return ("--certfile", str(folder / "cert.pem"), "--keyfile", str(folder / "key.pem")), trusting
