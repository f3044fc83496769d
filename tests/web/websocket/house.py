"""A chat server with a gate, and sockets whose peers are the test."""

from collections.abc import Callable

from chat import ChatServer
from chat.member import EVERYBODY, Member, Resume
from chat.testing import TurnedClock
from chat.tokens import Grant
from tests.chat.steps import wait_until
from tests.web.fakes import SocketFake
from web.settings import Settings, load
from web.websocket.gate import Gate, RightsOf


class House:
    """A chat server with a gate, and sockets whose peers are the test."""

    def __init__(self, clock: TurnedClock, controller: object = None, **settings: object) -> None:
        self.clock = clock
        config = {f"CHAT_{name}": value for name, value in settings.items()}
        self.settings: Settings = load(config, {}, "instance", controller=controller)
        self.rights_of: RightsOf = lambda username, channel: EVERYBODY
        self.server = ChatServer(self.settings.conf, clock=clock)
        self.gate = Gate(self.settings, self.server, lambda *who: self.rights_of(*who), clock)
        self.server.create_channel("lobby")

    def reserve(self, username: str, session: str | None = None, rights: frozenset[str] = EVERYBODY) -> Member:
        return self.server.reserve(Grant(username, "lobby", session), rights)

    def enter(
        self,
        username: str = "ann",
        *,
        v1: bool = True,
        resume: Resume | None = None,
        session: str | None = None,
        deflates: bool = False,
    ) -> SocketFake:
        """All that a handshake does; returns once it is in."""
        ticket = self.gate.count(username, "a")
        member = self.reserve(username, session)
        socket = SocketFake(self.clock, self.gate.bounds, deflates=deflates)
        self.gate.enter(socket, member, ticket, v1=v1, resume=resume)
        wait_until(lambda: socket.reading or socket.closing is not None)
        return socket

    def review(self, rights_of: RightsOf) -> None:
        """The application has changed its mind, and is asked again."""
        self.rights_of = rights_of
        self.gate.review()

    @property
    def counted(self) -> tuple[int, int]:
        """Who is in, and who is counted."""
        return len(self.gate), len(self.gate.census)


MakeHouse = Callable[..., House]


def heard(socket: SocketFake, type: str) -> list[dict[str, object]]:
    """All events of that type, once there is one."""
    wait_until(lambda: any(event["type"] == type for event in socket.events))
    return [event for event in socket.events if event["type"] == type]


def part(*sockets: SocketFake) -> None:
    """The peers hear our goodbye and hang up."""
    for socket in sockets:
        wait_until(lambda socket=socket: socket.reading or socket.closed)
        if not socket.closed:
            socket.hang_up()
