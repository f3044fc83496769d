"""With which limits a process serves."""

import pytest

from web.websocket.handler import WebSocketHandler
from web.websocket.limits import HttpLimits
from web.websocket.serving import UnfitToServe, limited


def test_a_handler_has_the_limits_that_were_set_and_its_class_keeps_its_own() -> None:
    handler = limited(WebSocketHandler, {HttpLimits(keepalive=7)})

    assert issubclass(handler, WebSocketHandler)
    assert (handler.limits.keepalive, WebSocketHandler.limits) == (7, HttpLimits())


def test_where_there_is_no_chat_a_handler_stays_as_it_is() -> None:
    assert limited(WebSocketHandler, set()) is WebSocketHandler


def test_two_chats_that_agree_share_a_process() -> None:
    assert limited(WebSocketHandler, {HttpLimits(keepalive=7), HttpLimits(keepalive=7.0)}).limits.keepalive == 7


def test_two_chats_that_differ_are_told_in_what() -> None:
    with pytest.raises(UnfitToServe, match=r"^CHAT_KEEPALIVE: "):
        limited(WebSocketHandler, {HttpLimits(keepalive=7), HttpLimits(keepalive=8)})
