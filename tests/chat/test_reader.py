"""What is read for a member ends in an answer, whatever becomes of the reading."""

import logging

import gevent

from chat.broker import MemoryBroker
from chat.clock import SystemClock
from chat.fanout import Fanout
from chat.member import Resume
from chat.outgoing import Outgoing
from chat.reader import Missed, Reader
from chat.registry import ChannelRecord


def test_who_comes_back_is_let_in_though_the_reading_is_killed_before_it_has_begun():
    record, broker, log = ChannelRecord("lobby", "e1", "l1"), MemoryBroker(), logging.getLogger("chat")
    fanout = Fanout(0, log, lambda: ((), 0))
    out = Outgoing(record, broker, fanout, SystemClock(), log, window=0.0, on_settled=list, on_untold=bool)
    reader = Reader(record, broker, fanout, out, log)
    missed, told = Missed(Resume("e1", 1, 10)), []
    reader.read(missed, lambda: told.append(missed.is_lost))
    reader.stop()
    gevent.idle()
    fanout.stop()

    assert told == [True]
