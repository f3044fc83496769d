"""The cable of the browser tests, without a browser."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.live.cable import MOST, Cable, Harm, reset

PATIENCE = 10.0


class Echo(socketserver.BaseRequestHandler):
    """Says again what it hears; notes how each connection ended."""

    def handle(self) -> None:
        self.request.settimeout(PATIENCE)
        ending = "reset"
        try:
            while heard := self.request.recv(65_536):
                self.request.sendall(heard)
            ending = "closed"
        except ConnectionResetError:
            pass
        finally:
            self.server.note(ending)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = False  # so that closing it joins them
    request_queue_size = 2 * MOST

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._endings: list[str] = []
        self._noted = threading.Condition()

    def note(self, ending: str) -> None:
        with self._noted:
            self._endings.append(ending)
            self._noted.notify_all()

    def endings(self, count: int) -> list[str]:
        """How the first `count` connections ended."""
        with self._noted:
            assert self._noted.wait_for(lambda: len(self._endings) >= count, PATIENCE)
            return self._endings[:count]


@pytest.fixture
def server() -> Iterator[EchoServer]:
    with EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cable(server: EchoServer) -> Iterator[Cable]:
    with Cable(server.url) as cable:
        yield cable


def connect(cable: Cable) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(cable.url).port or 0), PATIENCE)


def connect_and_hear(cable: Cable) -> bytes:
    with connect(cable) as client:
        return client.recv(1)


def hear(client: socket.socket, length: int) -> bytes:
    heard = b""
    while len(heard) < length and (more := client.recv(length - len(heard))):
        heard += more
    return heard


def echo(client: socket.socket, said: bytes) -> bytes:
    """Say it while listening, and return what came back."""
    speaker = threading.Thread(target=client.sendall, args=(said,))
    speaker.start()
    heard = hear(client, len(said))
    speaker.join()
    return heard


def hear_to_the_end(client: socket.socket) -> bytes:
    heard = b""
    with suppress(ConnectionResetError):
        while more := client.recv(100):
            heard += more
    return heard


def test_what_is_sent_arrives_as_it_was_in_both_directions(cable: Cable) -> None:
    said = bytes(range(256)) * 8192  # 2 MiB: more than all buffers on the way

    with connect(cable) as client, connect(cable) as other:
        assert echo(client, said) == said
        assert echo(other, b"meanwhile") == b"meanwhile"


def test_an_end_in_one_direction_leaves_the_other_open(cable: Cable, server: EchoServer) -> None:
    with connect(cable) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)

        assert hear(client, 100) == b"last words"
    assert server.endings(1) == ["closed"]


def test_a_clients_reset_resets_the_server(cable: Cable, server: EchoServer) -> None:
    client = connect(cable)
    echo(client, b"hello")
    reset(client)

    assert server.endings(1) == ["reset"]


def test_a_cut_resets_both_ends(cable: Cable, server: EchoServer) -> None:
    with connect(cable) as client:
        assert echo(client, b"hello") == b"hello"
        cable.cut()

        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert server.endings(1) == ["reset"]


def test_who_connects_to_a_cut_cable_is_reset(cable: Cable) -> None:
    cable.cut()

    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            connect_and_hear(cable)


def test_a_mended_cable_carries_new_connections(cable: Cable) -> None:
    cable.cut()
    cable.mend()

    with connect(cable) as client:
        assert echo(client, b"hello") == b"hello"


def test_a_frozen_cable_says_nothing_until_it_is_mended(cable: Cable, server: EchoServer) -> None:
    with connect(cable) as old, Cable(server.url) as other:
        echo(old, b"before")
        cable.freeze()
        old.sendall(b"old")
        new = connect(cable)
        new.sendall(b"new")
        with connect(other) as witness:
            assert echo(witness, b"time goes by") == b"time goes by"

        with new:
            for client in (old, new):
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(1)
                client.settimeout(PATIENCE)
            cable.mend()
            assert hear(old, 3) == b"old"
            assert hear(new, 3) == b"new"


def test_a_frozen_cable_can_be_cut(cable: Cable, server: EchoServer) -> None:
    with connect(cable) as old:
        echo(old, b"before")
        cable.freeze()
        with connect(cable) as new:
            cable.cut()

            for client in (old, new):
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
    assert server.endings(1) == ["reset"]


@pytest.mark.parametrize("how", [Harm.DEAF, Harm.MUTE, Harm.SILENT])
def test_a_half_open_connection_says_nothing_until_it_is_mended_and_the_others_go_on(cable: Cable, how: Harm) -> None:
    with connect(cable) as victim, connect(cable) as witness:
        for client in (victim, witness):
            echo(client, b"before")
        assert cable.harm(how, 0.0)
        victim.sendall(b"lost?")
        assert echo(witness, b"time goes by") == b"time goes by"

        victim.setblocking(False)
        with pytest.raises(BlockingIOError):
            victim.recv(1)
        victim.settimeout(PATIENCE)
        cable.mend()
        assert hear(victim, 5) == b"lost?"


def test_what_is_harmed_already_is_harmed_no_further(cable: Cable) -> None:
    with connect(cable) as victim, connect(cable) as witness:
        for client in (victim, witness):
            echo(client, b"before")
        assert cable.harm(Harm.SILENT, 0.0)
        assert cable.harm(Harm.RESET, 0.0)
        assert not cable.harm(Harm.RESET, 0.0)

        with pytest.raises(ConnectionResetError):
            witness.recv(1)
        cable.mend()
        assert echo(victim, b"again") == b"again"


@pytest.mark.parametrize(("how", "comes_back"), [(Harm.TRUNCATED, b""), (Harm.CURTAILED, b"123")])
def test_a_truncated_connection_ends_in_the_middle_of_what_is_said(cable: Cable, how: Harm, comes_back: bytes) -> None:
    with connect(cable) as client:
        echo(client, b"before")
        assert cable.harm(how, 0.99)
        client.sendall(b"123456")

        assert hear_to_the_end(client) == comes_back


def test_one_connection_is_reset_and_the_others_go_on(cable: Cable, server: EchoServer) -> None:
    with connect(cable) as first, connect(cable) as second, connect(cable) as third:
        for client in (first, second, third):
            echo(client, b"hello")
        assert cable.harm(Harm.RESET, 0.5)

        with pytest.raises(ConnectionResetError):
            second.recv(1)
        assert echo(first, b"here") == b"here"
        assert echo(third, b"here") == b"here"


def test_more_connections_than_it_holds_wait_their_turn(cable: Cable) -> None:
    clients = [connect(cable) for _ in range(MOST)]
    assert [echo(client, b"x") for client in clients] == [b"x"] * MOST

    with connect(cable) as late:
        late.sendall(b"late")
        clients.pop().close()

        assert hear(late, 4) == b"late"
    for client in clients:
        client.close()


def test_without_a_server_it_resets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Cable(f"http://127.0.0.1:{port}") as cable, pytest.raises(ConnectionResetError):
        connect_and_hear(cable)


def test_closing_resets_what_is_open_and_frees_the_port(cable: Cable, server: EchoServer) -> None:
    with connect(cable) as client:
        echo(client, b"hello")
        cable.close()
        cable.close()

        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(cable)
    assert server.endings(1) == ["reset"]
    with pytest.raises(RuntimeError, match="CLOSED"):
        cable.mend()
