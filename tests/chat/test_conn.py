"""What every `DirectConn` must do, and what `GreenletConn` and `PipeConn` do besides.

A new transport adds a parameter to `pair`: the conn, and an object like `Peer` for its other end.
"""

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event as Flag

from chat.closing import GONE, CloseCode, Closing
from chat.conn import Conn, DirectConn, GreenletConn, PipeConn, as_direct
from chat.errors import ConnEOF, TestTimeout
from chat.format import LINES
from chat.requests import Request
from chat.testing import (
    DirectFake,
    DroppingConn,
    DuplicatingConn,
    HalfOpenConn,
    Jammed,
    SlowConn,
    ThreeMethods,
    never_yields,
    wait_until,
)

WRITE_BUF = 1000


class PipePeer:
    """The client of a `PipeConn`."""

    copies = 1  # of everything that it says

    def __init__(self, pipe: PipeConn) -> None:
        self._client = pipe.client
        self.say = pipe.client.send
        self.hang_up = pipe.client.close
        self._heard: list[str] = []

    def heard(self) -> list[str]:
        """All that has arrived so far."""
        try:
            while True:
                self._heard.append(self._client.recv(0.001))
        except (TestTimeout, ConnEOF):
            return self._heard

    def is_closed(self) -> bool:
        try:
            self._client.send("?")
        except ConnEOF:
            return True
        return False


class FakePeer:
    """The peer's side of a `DirectFake`."""

    def __init__(self, conn: DirectFake) -> None:
        self._conn = conn
        self.say = conn.say
        self.hang_up = conn.hang_up
        self.copies = 2 if isinstance(conn, DuplicatingConn) else 1

    def heard(self) -> list[str]:
        return [text for text in self._conn.lines if text]

    def is_closed(self) -> bool:
        return self._conn.closing is not None


def make_pipe() -> tuple[DirectConn, PipePeer]:
    pipe = PipeConn()
    return GreenletConn(pipe, WRITE_BUF), PipePeer(pipe)


FAKES: dict[str, Callable[[], DirectFake]] = {
    "fake": lambda: DirectFake(LINES, WRITE_BUF),
    "slow": lambda: SlowConn(7, LINES, WRITE_BUF),
    "dropping": lambda: DroppingConn(100, LINES, WRITE_BUF),
    "half-open": lambda: HalfOpenConn(LINES, WRITE_BUF),
    "duplicating": lambda: DuplicatingConn(LINES, WRITE_BUF),
}


@pytest.fixture(params=["greenlets", *FAKES])
def pair(request, nothing_left_behind):
    if request.param == "greenlets":
        conn, peer = make_pipe()
    else:
        conn = FAKES[request.param]()
        peer = FakePeer(conn)
    yield conn, peer
    conn.close()


class Ear:
    """What the channel's side hears; of what comes twice in a row only once."""

    def __init__(self, on_text: Callable[[str], None] = lambda _: None) -> None:
        self.texts: list[str] = []
        self.closings: list[Closing] = []
        self._on_text = on_text

    def start(self, conn: DirectConn) -> None:
        conn.start(self._hear, self.closings.append)

    def _hear(self, request: Request) -> None:
        if [request.text] != self.texts[-1:]:
            self.texts.append(request.text)
            self._on_text(request.text)


@pytest.fixture
def conn(pair) -> DirectConn:
    return pair[0]


@pytest.fixture
def peer(pair) -> PipePeer | FakePeer:
    return pair[1]


@pytest.fixture
def ear(conn) -> Ear:
    ear = Ear()
    ear.start(conn)
    return ear


def lines(*texts: str) -> bytes:
    return LINES.join(texts)


class TestEveryDirectConn:
    def test_starting_never_yields(self, conn):
        ear = Ear()

        with never_yields():
            ear.start(conn)

    def test_what_is_written_arrives_in_order(self, conn, ear, peer):
        conn.write(lines("one", "two"))
        conn.write(lines("three"))

        wait_until(lambda: len(peer.heard()) == 3)
        assert peer.heard() == ["one", "two", "three"]

    def test_what_is_written_before_the_start_arrives_too(self, conn, peer):
        conn.write(lines("early"))
        Ear().start(conn)

        wait_until(lambda: peer.heard() == ["early"])

    def test_writing_never_yields(self, conn, ear):
        with never_yields():
            for _ in range(10):
                conn.write(lines("hello"))

    def test_nothing_written_is_nothing_sent(self, conn, ear, peer):
        conn.write(b"")
        conn.write(lines("something"))

        wait_until(lambda: peer.heard() == ["something"])

    def test_what_the_peer_says_is_heard_in_order(self, ear, peer):
        for text in ("one", "two", "", "three"):
            peer.say(text)

        wait_until(lambda: len(ear.texts) == 4)
        assert ear.texts == ["one", "two", "", "three"]

    def test_what_was_said_before_the_start_is_heard(self, conn, peer):
        peer.say("early")
        ear = Ear()
        ear.start(conn)

        wait_until(lambda: ear.texts == ["early"])

    def test_nothing_is_heard_while_it_is_paused(self, conn, ear, peer):
        conn.pause()
        for text in ("one", "two"):
            peer.say(text)
        gevent.idle()
        assert ear.texts == []

        conn.resume()

        wait_until(lambda: ear.texts == ["one", "two"])

    def test_pause_and_resume_are_idempotent_and_never_yield(self, conn, ear, peer):
        with never_yields():
            conn.pause()
            conn.pause()
            conn.resume()
            conn.resume()
        peer.say("one")

        wait_until(lambda: ear.texts == ["one"])

    def test_it_can_be_paused_by_what_it_hears(self, conn, peer):
        ear = Ear(lambda _: conn.pause())
        ear.start(conn)
        for text in ("one", "two"):
            peer.say(text)
        gevent.idle()
        assert ear.texts == ["one"]

        conn.resume()
        wait_until(lambda: ear.texts == ["one", "two"])

    def test_a_paused_conn_can_be_written_to(self, conn, ear, peer):
        conn.pause()
        conn.write(lines("hello"))

        wait_until(lambda: peer.heard() == ["hello"])

    def test_a_peer_that_hangs_up_is_gone_once(self, conn, ear, peer):
        peer.hang_up()
        peer.hang_up()

        wait_until(lambda: ear.closings == [GONE])
        conn.close()
        gevent.idle()
        assert ear.closings == [GONE]

    def test_who_closes_it_is_told_of_the_end_once(self, conn, ear, peer):
        conn.close(CloseCode.KICKED, "out")
        conn.close(CloseCode.NORMAL, "again")
        peer.hang_up()
        gevent.idle()

        assert ear.closings == [Closing(CloseCode.KICKED, "out")]

    def test_closing_never_yields(self, conn, ear):
        with never_yields():
            conn.close()
            conn.close()

    def test_closing_reaches_the_peer(self, conn, ear, peer):
        conn.close()

        wait_until(peer.is_closed)

    def test_what_was_written_before_the_end_still_arrives(self, conn, ear, peer):
        conn.write(lines("last words"))
        conn.close()

        wait_until(lambda: peer.heard() == ["last words"])
        wait_until(peer.is_closed)

    def test_nothing_is_heard_after_the_end(self, conn, ear, peer):
        conn.pause()
        peer.say("too late")
        gevent.idle()
        conn.close()
        conn.resume()
        gevent.idle()

        assert ear.texts == []
        assert len(ear.closings) == 1

    def test_nothing_is_sent_after_the_end(self, conn, ear, peer):
        conn.close()
        conn.write(lines("too late"))
        conn.probe()
        conn.send_str("too late")

        wait_until(peer.is_closed)
        assert peer.heard() == []

    def test_it_can_be_closed_before_the_start(self, conn, peer):
        conn.close()

        wait_until(peer.is_closed)

    def test_one_that_has_ended_before_the_start_says_so(self, conn):
        conn.close(CloseCode.SLOW, "slow")
        ear = Ear()
        ear.start(conn)

        wait_until(lambda: ear.closings == [Closing(CloseCode.SLOW, "slow")])

    def test_a_peer_that_hung_up_before_the_start_is_gone(self, conn, peer):
        peer.hang_up()
        ear = Ear()
        ear.start(conn)

        wait_until(lambda: ear.closings == [GONE])

    def test_it_can_be_ended_by_what_it_hears(self, conn, peer):
        closings = []
        conn.start(lambda request: conn.close(CloseCode.POLICY, request.text), closings.append)
        peer.say("one")
        gevent.idle()

        assert closings == [Closing(CloseCode.POLICY, "one")]

    def test_a_probe_tells_nothing_to_a_peer_that_lives(self, conn, ear, peer):
        with never_yields():
            conn.probe()
        conn.write(lines("after"))

        wait_until(lambda: peer.heard() == ["after"])
        assert ear.closings == []

    def test_a_text_can_be_sent_without_a_format(self, conn, ear, peer):
        conn.send_str("hello")

        wait_until(lambda: peer.heard() == ["hello"])

    def test_without_a_channel_texts_can_be_fetched(self, conn, peer):
        for text in ("one", "two"):
            peer.say(text)
        assert [conn.recv() for _ in range(2 * peer.copies)][:: peer.copies] == ["one", "two"]

        peer.hang_up()
        with pytest.raises(ConnEOF):
            conn.recv()


class TestSlowPeers:
    """More than `write_buf` is queued for nobody."""

    @pytest.fixture(params=["greenlets", "fake"])
    def stalled(self, request) -> DirectConn:
        if request.param == "greenlets":
            return GreenletConn(Jammed(), WRITE_BUF)
        conn = DirectFake(LINES, WRITE_BUF)
        conn.stall()
        return conn

    @pytest.fixture
    def conn(self, stalled):
        yield stalled
        if isinstance(stalled, GreenletConn):
            stalled._conn.close()
        stalled.close()

    def test_up_to_the_bound_it_is_waited_for(self, conn, ear):
        gevent.idle()
        for _ in range(WRITE_BUF // 100):
            conn.write(b"x" * 99 + b"\0")
            gevent.idle()

        assert ear.closings == []

    def test_past_the_bound_it_is_closed_as_slow(self, conn, ear):
        gevent.idle()
        for _ in range(WRITE_BUF // 100 + 2):
            conn.write(b"x" * 99 + b"\0")
            gevent.idle()

        assert [closing.code for closing in ear.closings] == [CloseCode.SLOW]

    def test_the_write_that_passes_the_bound_does_not_yield(self, conn, ear):
        conn.write(b"x" * 99 + b"\0")
        gevent.idle()

        with never_yields():
            for _ in range(3):
                conn.write(b"x" * WRITE_BUF + b"\0")

        assert [closing.code for closing in ear.closings] == [CloseCode.SLOW]


FAULTS: list[Callable[[], BaseException]] = [
    ConnEOF,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    AssertionError,
    StopIteration,
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    lambda: gevent.Timeout(1.0),
    gevent.GreenletExit,
]


class TestGreenletConn:
    """Somebody's own three methods."""

    @pytest.fixture
    def theirs(self) -> ThreeMethods:
        return ThreeMethods()

    @pytest.fixture
    def ours(self, theirs) -> DirectConn:
        return as_direct(theirs, WRITE_BUF)

    @pytest.fixture
    def ear(self, ours, theirs):
        ear = Ear()
        ear.start(ours)
        yield ear
        ours.close()

    def test_it_needs_no_init_of_ours(self, ours, theirs, ear):
        ours.write(lines("hello"))

        wait_until(lambda: theirs.sent == ["hello"])

    @pytest.mark.parametrize("fault", FAULTS)
    def test_whatever_recv_raises_it_is_gone(self, theirs, ear, fault):
        theirs.fail(fault())

        wait_until(lambda: ear.closings == [GONE])
        assert theirs.closed.wait(2)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_whatever_send_raises_it_is_gone(self, fault):
        class CannotSend(ThreeMethods):
            def send_str(self, msg: str) -> None:
                raise fault()

        theirs, ear = CannotSend(), Ear()
        ours = GreenletConn(theirs, WRITE_BUF)
        ear.start(ours)
        ours.write(lines("hello"))

        wait_until(lambda: ear.closings == [GONE])
        assert theirs.closed.wait(2)

    def test_a_probe_is_an_empty_text(self, ours, theirs, ear):
        ours.write(lines("before"))
        ours.probe()
        ours.write(lines("after"))

        wait_until(lambda: theirs.sent == ["before", "", "after"])

    def test_a_probe_finds_out_who_has_gone(self):
        class Gone(ThreeMethods):
            def send_str(self, msg: str) -> None:
                raise ConnectionResetError

        ear, ours = Ear(), GreenletConn(Gone(), WRITE_BUF)
        ear.start(ours)
        ours.probe()

        wait_until(lambda: ear.closings == [GONE])

    def test_it_is_closed_once_whoever_ends_it(self):
        class Counting(ThreeMethods):
            closes = 0

            def close(self) -> None:
                self.closes += 1
                super().close()

        theirs = Counting()
        ours = GreenletConn(theirs, WRITE_BUF)
        Ear().start(ours)
        ours.close()
        ours.close()
        wait_until(lambda: theirs.closes > 0)
        gevent.idle()

        assert theirs.closes == 1

    def test_a_close_that_takes_long_holds_up_nobody(self):
        class SlowToClose(ThreeMethods):
            def __init__(self) -> None:
                super().__init__()
                self.may_close = Flag()
                self.is_closing = Flag()

            def close(self) -> None:
                self.is_closing.set()
                self.may_close.wait()
                super().close()

        theirs, ear = SlowToClose(), Ear()
        ours = GreenletConn(theirs, WRITE_BUF)
        ear.start(ours)
        with never_yields():
            ours.close()
        assert ear.closings == [Closing(CloseCode.NORMAL)]
        assert theirs.is_closing.wait(2)
        theirs.may_close.set()

        assert theirs.closed.wait(2)

    @pytest.mark.logs_errors
    def test_a_close_that_raises_leaves_no_greenlet_behind(self):
        class CannotClose(ThreeMethods):
            """Neither does its close wake recv."""

            def close(self) -> None:
                self.closed.set()
                raise OSError("on purpose")

        theirs, ear = CannotClose(), Ear()
        ours = GreenletConn(theirs, WRITE_BUF)
        ear.start(ours)
        ours.close()

        assert theirs.closed.wait(2)
        wait_until(lambda: ours._reader.dead and ours._writer.dead)

    def test_a_close_that_does_not_wake_recv_leaves_no_greenlet_behind(self):
        class Deaf(ThreeMethods):
            def close(self) -> None:
                self.closed.set()

        ours = GreenletConn(Deaf(), WRITE_BUF)
        Ear().start(ours)
        ours.close()

        wait_until(lambda: ours._reader.dead and ours._writer.dead)

    def test_one_that_always_has_more_to_say_lets_others_have_their_turn(self):
        class Torrent(ThreeMethods):
            """Has data whenever it is asked, as a socket has that is faster than we are."""

            left = 20_000

            def recv(self) -> str:
                if not self.left:
                    return super().recv()
                self.left -= 1
                return "more"

        theirs = Torrent()
        ours = GreenletConn(theirs, WRITE_BUF)
        Ear().start(ours)
        waiting = gevent.spawn(lambda: theirs.left)  # has its turn behind the reader
        left = waiting.get(timeout=2)
        ours.close()

        assert left > 0

    def test_a_prompt_reader_gets_a_batch_that_is_larger_than_the_bound(self, ours, theirs, ear):
        texts = [str(number) * 50 for number in range(100)]
        assert len(lines(*texts)) > 2 * WRITE_BUF
        ours.write(lines(*texts))

        wait_until(lambda: theirs.sent == texts)
        assert ear.closings == []


class TestAsDirect:
    def test_one_that_can_be_written_to_is_left_as_it_is(self):
        conn = DirectFake()

        assert as_direct(conn, 1) is conn

    def test_all_others_look_alike_on_the_wire(self):
        assert as_direct(PipeConn(), 1).format is as_direct(ThreeMethods(), 1).format

    @pytest.mark.parametrize("conn", [None, object(), "conn", PipeConn, PipeConn().client])
    def test_what_is_no_conn_is_a_type_error(self, conn):
        with pytest.raises(TypeError, match="Conn is wanted"):
            as_direct(conn, 1)

    def test_a_conn_must_have_all_three_methods(self):
        class Half(Conn):
            def recv(self) -> str:
                return ""

        with pytest.raises(TypeError):
            Half()


class TestPipeConn:
    def test_what_one_end_says_the_other_hears(self):
        pipe = PipeConn()
        pipe.client.send("up")
        pipe.send_str("down")

        assert pipe.recv() == "up"
        assert pipe.client.recv(1) == "down"

    def test_the_client_sees_no_probes(self):
        pipe = PipeConn()
        for text in ("", "one", "", "", "two"):
            pipe.send_str(text)

        assert [pipe.client.recv(1), pipe.client.recv(1)] == ["one", "two"]

    def test_the_client_waits_as_long_as_it_says(self):
        pipe = PipeConn()
        pipe.send_str("")

        with pytest.raises(TestTimeout):
            pipe.client.recv(0.01)

    def test_a_text_that_comes_in_time_is_waited_for(self):
        pipe = PipeConn()
        gevent.spawn(pipe.send_str, "hello")

        assert pipe.client.recv(2) == "hello"

    @pytest.mark.parametrize("side", ["server", "client"])
    def test_whoever_hangs_up_both_ends_are_closed(self, side):
        pipe = PipeConn()
        (pipe if side == "server" else pipe.client).close()

        for use in (pipe.recv, pipe.client.recv, lambda: pipe.send_str("x"), lambda: pipe.client.send("x")):
            with pytest.raises(ConnEOF):
                use()

    def test_what_was_sent_before_the_end_can_be_received(self):
        pipe = PipeConn()
        pipe.send_str("last words")
        pipe.client.send("goodbye")
        pipe.close()

        assert pipe.client.recv(1) == "last words"
        assert pipe.recv() == "goodbye"
        with pytest.raises(ConnEOF):
            pipe.client.recv(1)

    def test_closing_is_idempotent_and_wakes_who_waits(self):
        pipe = PipeConn()
        woken = []

        def wait(recv: Callable[[], str]) -> None:
            with pytest.raises(ConnEOF):
                recv()
            woken.append(recv)

        waiting = [gevent.spawn(wait, pipe.recv), gevent.spawn(wait, pipe.client.recv)]
        gevent.idle()
        pipe.close()
        pipe.close()
        gevent.joinall(waiting, timeout=2)

        assert len(woken) == 2

    def test_all_that_comes_can_be_looped_over(self):
        pipe = PipeConn()
        for text in ("one", "", "two"):
            pipe.send_str(text)
        pipe.close()

        assert list(pipe.client) == ["one", "two"]
