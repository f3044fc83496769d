"""An independent client against a server of our handler alone, in a process of its own: TCP, a unix socket, TLS."""

import ssl
import sys

import pytest
import trustme
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect, unix_connect

from tests.live.servers import SERVING, running

WAIT = 10.0  # seconds for any answer


def serving(*args):
    return running([sys.executable, "-m", "tests.web.websocket.echo_server", *args])


@pytest.fixture(scope="module", params=["tcp", "unix", "tls"])
def dial(request, tmp_path_factory):
    """Connects to a path of the server."""
    folder = tmp_path_factory.mktemp("server")
    if request.param == "unix":
        path = folder / "socket"
        with serving("--unix", str(path)) as server:
            server.wait_for(SERVING)
            yield lambda where, **options: unix_connect(str(path), uri=f"ws://localhost{where}", **options)
    elif request.param == "tls":
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "cert"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(context)
        with serving("--tls", str(folder / "cert")) as server:
            port = server.wait_for(SERVING).group(1)
            yield lambda where, **options: connect(f"wss://localhost:{port}{where}", ssl=context, **options)
    else:
        with serving() as server:
            port = server.wait_for(SERVING).group(1)
            yield lambda where, **options: connect(f"ws://localhost:{port}{where}", **options)


BOTH = pytest.mark.parametrize("where", ["/parked", "/route"])


@BOTH
def test_whatever_is_sent_comes_back(dial, where):
    sent = ["", "grüße", b"\xff\x00", "x" * 200_000, b"y" * 3_000_000]

    with dial(where, compression=None, max_size=None) as client:
        for message in sent:
            client.send(message)
            assert client.recv(timeout=WAIT) == message
        client.send(["in ", "three ", "parts"])
        assert client.recv(timeout=WAIT) == "in three parts"
        assert client.ping().wait(WAIT)

    assert client.close_code == 1000


@BOTH
def test_the_clients_close_is_answered(dial, where):
    with dial(where) as client:
        client.close(4321, "so long")

    assert (client.protocol.close_rcvd.code, client.protocol.close_rcvd.reason) == (4321, "so long")


@BOTH
def test_our_close_has_a_code_and_a_reason(dial, where):
    with dial(where) as client:
        client.send("close")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=WAIT)

    assert (client.close_code, client.close_reason) == (4503, "as you wish")


def test_what_is_no_websocket_stays_http(dial):
    with pytest.raises(InvalidStatus) as caught, dial("/elsewhere"):
        pass

    assert (caught.value.response.status_code, caught.value.response.body) == (404, b"nowhere")


@BOTH
def test_compression_is_spoken_where_it_is_agreed_on(dial, where):
    with dial(where, compression="deflate") as client:
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        for message in ("hello " * 1000, b"\x00" * 100_000):
            client.send(message)
            assert client.recv(timeout=WAIT) == message
