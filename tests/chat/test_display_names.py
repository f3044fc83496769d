"""By what name others see a user: told with the member, not with the messages."""

import pytest

from chat import ChatServer
from chat.crowd import LARGE, LISTED, PERIOD
from chat.event import Joined, Left, Message, Presence, User, Welcome
from chat.frames import Limits
from chat.wire import Dialect
from tests.chat.fakes import DirectFake, EventFormat
from tests.chat.steps import enter, enter_directly, hear_until


@pytest.fixture
def server(make_server) -> ChatServer:
    server = make_server(duplicate_user="share")
    server.create_channel("lobby")
    return server


@pytest.fixture
def lobby(server):
    return server.get_channel("lobby")


def enter_as(server: ChatServer, username: str, **data: object) -> DirectFake:
    conn = DirectFake(EventFormat())
    server.connect(server.request_token(username, "lobby", data=data), conn)
    server.flush()
    return conn


def joined(conn: DirectFake) -> list[User]:
    """Who has come, as told one by one."""
    return [event.user for event in conn.events if isinstance(event, Joined)]


def fill(server: ChatServer, clock, many: int) -> None:
    for number in range(many):
        enter_as(server, f"user {number:04}", name=f"Number {number}")
    clock.advance(PERIOD)
    server.flush()


def test_the_members_and_the_user_hear_it_when_somebody_comes(server, lobby):
    witness = enter_directly(lobby, "witness")
    ada = enter_as(server, "ada", name="Ada Lovelace")

    (welcome,) = ada.wait_for(Welcome)
    assert welcome.user == User("ada", "Ada Lovelace")
    assert welcome.users == (User("ada", "Ada Lovelace"), User("witness"))
    assert joined(ada) == [User("ada", "Ada Lovelace")]
    assert joined(witness)[-1] == User("ada", "Ada Lovelace")


def test_who_comes_later_is_told_it_too(server, lobby):
    enter_as(server, "ada", name="Ada Lovelace")

    assert enter_directly(lobby, "bob").wait_for(Welcome)[0].users == (User("ada", "Ada Lovelace"), User("bob"))


def test_usernames_are_what_everything_else_goes_by(server, lobby):
    witness, plain = enter_directly(lobby, "witness"), enter(lobby, "plain")
    ada = enter_as(server, "ada", name="Ada Lovelace")
    ada.say("hello")
    ada.hang_up()

    assert hear_until(plain, "ada exited lobby...")[1:] == ["ada entered lobby!", "ada: hello", "ada exited lobby..."]
    assert witness.wait_for(Message)[0].sender == "ada"
    assert witness.wait_for(Left)[0].username == "ada"


def test_users_are_listed_by_username(server, lobby):
    enter_as(server, "bob", name="A")
    enter_as(server, "ada", name="B")

    assert lobby.get_users() == ["ada", "bob"]


def test_nothing_else_of_what_rides_with_a_token_is_shown(server, lobby):
    witness = enter_directly(lobby, "witness")
    ada = enter_as(server, "ada", name="Ada", email="secret")
    dialect = Dialect("lobby", Limits(4096, 10.0), 25.0)

    shown = b"".join(dialect.encode(event) for event in [*ada.events, *witness.events])
    assert b'"name":"Ada"' in shown
    assert b"secret" not in shown
    assert b"email" not in shown


def test_another_name_on_a_second_connection_is_told_by_joined_again(server, lobby):
    witness, plain = enter_directly(lobby, "witness"), enter(lobby, "plain")
    enter_as(server, "ada", name="Ada")
    second = enter_as(server, "ada", name="Countess")
    lobby.new_system_broadcast("over")

    assert joined(witness)[-2:] == [User("ada", "Ada"), User("ada", "Countess")]
    assert joined(second) == [User("ada", "Countess")]
    assert second.wait_for(Welcome)[0].user == User("ada", "Countess")
    assert second.wait_for(Welcome)[0].count == 3
    assert hear_until(plain, "over") == ["plain entered lobby!", "ada entered lobby!", "over"]


def test_a_second_connection_without_a_name_takes_it_away(server, lobby):
    witness = enter_directly(lobby, "witness")
    enter_as(server, "ada", name="Ada")
    enter_as(server, "ada")

    assert joined(witness)[-2:] == [User("ada", "Ada"), User("ada")]


def test_the_same_name_on_a_second_connection_is_told_nobody(server, lobby):
    witness = enter_directly(lobby, "witness")
    for _ in range(3):
        enter_as(server, "ada", name="Ada")

    assert joined(witness) == [User("witness"), User("ada", "Ada")]


def test_another_name_calls_no_hook(make_server):
    came = []

    class Greeter:
        def on_connect(self, channel, username):
            came.append(username)

    server = make_server(duplicate_user="share", controller=Greeter())
    server.create_channel("lobby")
    for name in ("Ada", "Countess"):
        enter_as(server, "ada", name=name)

    assert came == ["ada"]


def test_a_large_room_is_told_the_names_in_the_folded_notice(server, lobby, clock):
    fill(server, clock, LARGE)
    witness = enter_directly(lobby, "witness")
    enter_as(server, "ada", name="Ada")
    clock.advance(PERIOD)
    lobby.flush()

    assert witness.wait_for(Presence)[-1].joined == (User("witness"), User("ada", "Ada"))


def test_another_name_in_a_large_room_is_folded_and_is_no_arrival(server, lobby, clock):
    fill(server, clock, LARGE)
    witness, plain = enter_directly(lobby, "witness"), enter(lobby, "plain")
    clock.advance(PERIOD)
    lobby.flush()
    told = len(witness.events)
    enter_as(server, "user 0000", name="Somebody else")
    assert len(witness.events) == told

    clock.advance(PERIOD)
    lobby.flush()
    lobby.new_system_broadcast("over")
    lobby.flush()

    (folded, _) = witness.events[told:]
    assert (folded.joined, folded.left, folded.count) == ((User("user 0000", "Somebody else"),), (), LARGE + 2)
    assert hear_until(plain, "over") == [f"2 entered lobby, {LARGE + 2} are here", "over"]


def test_names_in_a_welcome_are_cut_with_their_users(server, lobby, clock):
    fill(server, clock, LISTED + 5)

    users = enter_directly(lobby, "witness").wait_for(Welcome)[0].users

    assert len(users) == LISTED
    assert all(user.name == f"Number {int(user.username[-4:])}" for user in users if user.username != "witness")
