"""A chat server among others: what it knows is in the Redis that they share."""

from chat.archive import Archive
from chat.broker.redis import RedisBroker
from chat.clock import Clock, SystemClock
from chat.config import ServerConf
from chat.fleet import Fleet
from chat.presence.redis import RedisPresence
from chat.registry import Registry
from chat.server import ChatServer
from chat.tokens.redis import RedisTokens


def make_shared_server(
    conf: ServerConf, fleet: Fleet, *, registry: Registry, archive: Archive | None = None, clock: Clock | None = None
) -> ChatServer:
    """Return a server that is one of `fleet`, and ends it at its own end.  Blocks.

    `registry`, which must last, and `archive` are to be the same database for all of them.
    Raises: BrokerUnavailable, which says why the Redis cannot be reached.
    """
    clock = clock or SystemClock()
    recent, age = conf.at_hand
    bus, lease = fleet.bus, fleet.lease
    fleet.connect()
    try:
        return ChatServer(
            conf,
            tokens=RedisTokens(bus, deadline=conf.token_deadline, per_user=conf.tokens_per_user, clock=clock),
            presence=RedisPresence(bus, lease, fleet.is_gone),
            registry=registry,
            broker=RedisBroker(
                bus, lease, archive, recent=recent, age=age, is_presence_here=True, clock=clock, log=conf.logger
            ),
            archive=archive,
            fleet=fleet,
            clock=clock,
        )
    except BaseException:
        fleet.stop()
        raise
