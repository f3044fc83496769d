"""Joins and leaves over open sockets: one after the other, in a greenlet that a socket has while any of its own wait.

To redeem a token, to ask `authorize` and to load a channel may block, so they are not for the hub.  In order, so that a
client need not wait for one answer before it asks for the next thing.
"""

import logging
from collections import deque
from typing import Final, Protocol

import gevent

from chat.errors import AlreadyJoined, ChatError, NotJoined, OtherUser, RateLimited, ServerClosed, TooManyChannels
from chat.member import Member, Resume
from chat.requests import CHANNELS, Join, Leave
from chat.tokens import Grant
from chat.turn import yield_turn
from web.websocket.conn import Move, V1Peer
from web.websocket.deadline import at_most

PATIENCE: Final = 5.0  # seconds for what was asked of a channel before it was left
END: Final = 0.1  # seconds for greenlets that are ended

log: Final = logging.getLogger("web")


class Failed(ChatError):
    """Something that is ours to mend; the log has it."""

    code = "internal_error"
    retry = True
    text = "the server failed"


class Entry(Protocol):
    """The way in, which is the same for handshakes."""

    @property
    def draining(self) -> bool:
        """Nobody is let in any more."""

    def redeem(self, token: str) -> Grant:
        """Spend `token`.  Blocks.  Raises: InvalidToken, ServerClosed."""

    def reserve(self, grant: Grant) -> Member:
        """Take the name in the channel.  Blocks.  Raises: Forbidden; as `ChatServer.reserve`."""


class Moves:
    """The moves of all sockets of a gate."""

    def __init__(self, entry: Entry, resume_limit: int, patience: float = PATIENCE) -> None:
        self._entry = entry
        self._resume_limit = resume_limit
        self._patience = patience
        self._greenlets: dict[V1Peer, gevent.Greenlet[..., None]] = {}

    def put(self, peer: V1Peer, move: Move) -> None:
        """Take a move in its turn.  Never yields.  Raises: RateLimited, when too many wait."""
        if peer.moves is None:
            peer.moves = deque()
            self._greenlets[peer] = gevent.spawn(self._run, peer)
        if len(peer.moves) >= CHANNELS:
            raise RateLimited
        peer.moves.append(move)

    def stop(self) -> None:
        """End them all.  Blocks, for 0.1 s at most."""
        gevent.killall(list(self._greenlets.values()), timeout=END)

    def _run(self, peer: V1Peer) -> None:
        """The greenlet of one socket."""
        try:
            while peer.moves and peer.socket.closing is None:
                self._move(peer, peer.moves.popleft())
                if peer.moves:
                    yield_turn()  # a hundred joins would otherwise be one turn of the hub
        finally:
            del self._greenlets[peer]
            peer.moves = None
            if not peer.conns:
                peer.close()

    def _move(self, peer: V1Peer, move: Move) -> None:
        if isinstance(move, Leave):
            self._leave(peer, move)
            return
        try:
            self._join(peer, move)
        except ChatError as exc:
            peer.answer(exc, move.id or "")
        except Exception:
            log.exception("a join failed")
            peer.answer(Failed(), move.id or "")

    def _leave(self, peer: V1Peer, request: Leave) -> None:
        conn = peer.find(request.channel)
        if conn is None:  # the join before it was refused, or the server has ended it meanwhile
            peer.answer(NotJoined(), request.id or "", request.channel)
            return
        conn.go_deaf()  # it may have been joined only since the request came
        with at_most(self._patience):
            conn.member.flush()
        peer.part(request)

    def _join(self, peer: V1Peer, request: Join) -> None:
        """What can be told without the token comes first, so that it is spent only when nothing else stands in the way."""
        if self._entry.draining:
            raise ServerClosed
        if len(peer.conns) >= CHANNELS:
            raise TooManyChannels
        grant = self._entry.redeem(request.token)
        if (grant.username, grant.session) != (peer.grant.username, peer.grant.session):
            raise OtherUser
        if peer.find(grant.channel) is not None:
            raise AlreadyJoined
        member = self._entry.reserve(grant)
        if self._entry.draining or peer.socket.closing is not None:  # meanwhile
            member.cancel()
            raise ServerClosed
        conn = peer.add(member, request.id or "")
        try:
            member.join(conn, resume=self._resume(request))
        except ChatError:
            peer.drop(conn)
            raise

    def _resume(self, request: Join) -> Resume | None:
        if request.epoch is None or request.offset is None:
            return None
        return Resume(request.epoch, request.offset, self._resume_limit)
