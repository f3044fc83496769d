"""Presence in a Redis, for channels whose members are connected to several processes.

Each channel has two hashes, both by username: the seats of a user's connections, as words in one field, and the display
names of those who are listed.  So a script looks at one user's seats, however many others there are, and has one field to
write; a key for each user would have to be found, and forgotten, one by one when a process dies.

A seat is its state's letter and the member's id: R reserved, L listed, A abandoned (still listed, but the name is free).
An id is "<process>.<number>", without white space; one without a dot belongs to no process that could die.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from gevent.event import AsyncResult

from chat.bus import Bus, Script, Word
from chat.bus.lease import Standing
from chat.config import DuplicateUser
from chat.errors import BrokerUnavailable, UserAlreadyConnected
from chat.event import User
from chat.presence.base import Presence

SLICE: Final = 500  # users that a script looks through: half a millisecond, two when many have to be forgotten
RESTORED: Final = 200  # users that a script restores: one millisecond
COUNTED: Final = 1000  # channels that are asked about at a time; the bus lets 10,000 questions wait

_SEATS: Final = """
local function read(username)
  local seats = {}
  for seat in string.gmatch(redis.call("HGET", KEYS[1], username) or "", "%S+") do
    seats[#seats + 1] = seat
  end
  return seats
end

local function write(username, seats)
  if #seats > 0 then
    redis.call("HSET", KEYS[1], username, table.concat(seats, " "))
  else
    redis.call("HDEL", KEYS[1], username)
  end
end

local function state_of(seat) return string.sub(seat, 1, 1) end
local function member_of(seat) return string.sub(seat, 2) end
local function process_of(seat) return string.match(seat, "^.(.*)%.") end

-- What is left of a seat whose member lets the name go, as part of a list.
local function let_go(seats, seat)
  if state_of(seat) ~= "R" then seats[#seats + 1] = "A" .. member_of(seat) end
end

-- Unlist a user who has only these seats left; return the display name, false if nothing has changed.
local function unlist(username, seats)
  for _, seat in ipairs(seats) do
    if state_of(seat) ~= "R" then return false end
  end
  local name = redis.call("HGET", KEYS[2], username)
  if name then redis.call("HDEL", KEYS[2], username) end
  return name
end
"""

# Arguments: username, member, policy, and the processes that are gone.  Answer: whether it was done, and the others who
# hold the name; under "replace" they hold it no longer.
RESERVE: Final = Script(
    _SEATS
    + """
local username, member, policy = ARGV[1], ARGV[2], ARGV[3]
local gone = {}
for i = 4, #ARGV do gone[ARGV[i]] = true end
local seats, holders = {}, {}
for _, seat in ipairs(read(username)) do
  if state_of(seat) == "A" then
    seats[#seats + 1] = seat
  elseif gone[process_of(seat) or ""] then
    let_go(seats, seat)
  else
    holders[#holders + 1] = member_of(seat)
    if policy == "replace" then let_go(seats, seat) else seats[#seats + 1] = seat end
  end
end
if policy == "reject" and #holders > 0 then return {0, holders} end
seats[#seats + 1] = "R" .. member
write(username, seats)
return {1, holders}
"""
)

# Arguments: username, member, display name.  Answer: whether it was done, and the display name before, nil if not listed.
CONFIRM: Final = Script(
    _SEATS
    + """
local username, member = ARGV[1], ARGV[2]
local seats = read(username)
for i, seat in ipairs(seats) do
  if member_of(seat) == member then
    seats[i] = "L" .. member
    write(username, seats)
    local before = redis.call("HGET", KEYS[2], username)
    redis.call("HSET", KEYS[2], username, ARGV[3])
    return {1, before}
  end
end
return {0, false}
"""
)

# Arguments: username, member.
ABANDON: Final = Script(
    _SEATS
    + """
local username, member = ARGV[1], ARGV[2]
local seats = {}
for _, seat in ipairs(read(username)) do
  if member_of(seat) == member then let_go(seats, seat) else seats[#seats + 1] = seat end
end
write(username, seats)
"""
)

# Arguments: username, member.  Answer: the display name of who is listed no more, nil if nobody.
RELEASE: Final = Script(
    _SEATS
    + """
local username, member = ARGV[1], ARGV[2]
local before, seats = read(username), {}
for _, seat in ipairs(before) do
  if member_of(seat) ~= member then seats[#seats + 1] = seat end
end
if #seats == #before then return false end
write(username, seats)
return unlist(username, seats)
"""
)

# Arguments: where to go on, process, how many to look at.  Answer: where to go on, and who is listed no more, with names.
FORGET: Final = Script(
    _SEATS
    + """
local process, gone = ARGV[2], {}
local step = redis.call("HSCAN", KEYS[1], ARGV[1], "COUNT", ARGV[3])
for i = 1, #step[2], 2 do
  if string.find(step[2][i + 1], process .. ".", 1, true) then
    local username, seats = step[2][i], {}
    local before = read(username)
    for _, seat in ipairs(before) do
      if process_of(seat) ~= process then seats[#seats + 1] = seat end
    end
    if #seats < #before then
      write(username, seats)
      local name = unlist(username, seats)
      if name then
        gone[#gone + 1] = username
        gone[#gone + 1] = name
      end
    end
  end
end
return {step[1], gone}
"""
)

# Arguments: username, display name and members, again and again.  Answer: who was not listed any more.
RESTORE: Final = Script(
    _SEATS
    + """
local lost = {}
for i = 1, #ARGV, 3 do
  local username = ARGV[i]
  local seats, place = read(username), {}
  for at, seat in ipairs(seats) do place[member_of(seat)] = at end
  for member in string.gmatch(ARGV[i + 2], "%S+") do
    local at = place[member] or #seats + 1
    if state_of(seats[at] or "R") == "R" then seats[at] = "L" .. member end
  end
  write(username, seats)
  if redis.call("HSETNX", KEYS[2], username, ARGV[i + 1]) == 1 then lost[#lost + 1] = username end
end
return lost
"""
)

IsGone = Callable[[str], bool]
"""Whether a process, by its id, is known to be dead.  Blocks."""


class RedisPresence(Presence):
    """Each call is one script, or one command.

    Names that could not be let go, because the Redis was away, are let go ahead of the first script that can be run again.
    """

    def __init__(self, bus: Bus, lease: Standing, is_gone: IsGone = lambda _process: False) -> None:
        """`lease` is this process's.  `is_gone` is asked when another one's member is in the way of ours."""
        self._bus = bus
        self._lease = lease
        self._is_gone = is_gone
        self._withheld: dict[tuple[str, str], str] = {}  # usernames by channel and member: what could not be let go

    def reserve(self, channel: str, username: str, member: str, policy: DuplicateUser) -> list[str]:
        """As the contract has it, but nobody is refused a name for members whose processes are gone: they let it go.

        Who was listed by such a ghost stays listed until `forget`, as by any member that has abandoned the name: a user who
        comes back by way of another process has not left meanwhile.
        """
        is_done, holders = self._reserve(channel, username, member, policy)
        if not is_done and (gone := self._gone_of(holders)):
            is_done, holders = self._reserve(channel, username, member, policy, *gone)
        if not is_done:
            raise UserAlreadyConnected(username, channel)
        return holders if policy == "replace" else []

    def confirm(self, channel: str, user: User, member: str) -> User | None:
        is_done, before = self._run(CONFIRM, channel, user.username, member, user.name)
        if not is_done:
            raise KeyError(member)
        return None if before is None else User(user.username, before.decode())

    def abandon(self, channel: str, username: str, member: str) -> None:
        answer = self._send(ABANDON, channel, username, member)
        answer.rawlink(partial(self._abandoned, channel, username, member))

    def release(self, channel: str, username: str, member: str) -> User | None:
        name = self._run(RELEASE, channel, username, member)
        return None if name is None else User(username, name.decode())

    def users(self, channel: str, limit: int | None = None) -> list[User]:
        listed = self._all(channel) if limit is None else self._some(channel, limit)
        users = [User(username.decode(), name.decode()) for username, name in listed.items()]
        return sorted(users, key=attrgetter("username"))

    def count(self, channel: str) -> int:
        (count,) = self.counts([channel])
        return count

    def counts(self, channels: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(channels), COUNTED):
            answers = [self._ask("HLEN", channel) for channel in channels[start : start + COUNTED]]
            counts += map(_answer, answers)
        return counts

    def is_listed(self, channel: str, username: str) -> bool:
        name = username.encode(errors="surrogatepass")  # it may be none at all
        return bool(_answer(self._ask("HEXISTS", channel, name)))

    def restore(self, channel: str, users: Sequence[tuple[User, str]]) -> list[User]:
        names = {user.username: user.name for user, _ in users}  # the newest connection tells
        members: dict[str, list[str]] = {username: [] for username in names}
        for user, member in users:
            members[user.username].append(member)
        words = [word for username, name in names.items() for word in (username, name, " ".join(members[username]))]
        step = 3 * RESTORED
        asked = [self._send(RESTORE, channel, *words[at : at + step]) for at in range(0, len(words), step)]
        lost = [username.decode() for answer in asked for username in _answer(answer)]
        return [User(username, names[username]) for username in lost]

    def forget(self, channel: str, process: str) -> list[User]:
        gone: list[User] = []
        cursor = b"0"
        while True:
            cursor, found = self._run(FORGET, channel, cursor, process, SLICE)
            gone += [User(username.decode(), name.decode()) for username, name in _pairs(found).items()]
            if cursor == b"0":
                return gone

    def _reserve(
        self, channel: str, username: str, member: str, policy: DuplicateUser, *gone: str
    ) -> tuple[bool, list[str]]:
        asked = self._send(RESERVE, channel, username, member, policy, *gone)
        was_asked = not asked.ready()
        try:
            is_done, holders = _answer(asked)
        except BaseException:  # the Redis has gone, or the caller's patience is at an end: perhaps it is done
            if was_asked:
                self.abandon(channel, username, member)
            raise
        return is_done == 1, [holder.decode() for holder in holders]

    def _gone_of(self, holders: Sequence[str]) -> list[str]:
        """The processes of these members, if all of them are others, and gone."""
        processes = {holder.rpartition(".")[0] for holder in holders}
        if processes & {"", self._lease.process} or not all(map(self._is_gone, processes)):
            return []
        return sorted(processes)

    def _abandoned(self, channel: str, username: str, member: str, answer: "AsyncResult[Any]") -> None:
        """The hub calls this."""
        if isinstance(answer.exception, BrokerUnavailable):
            self._withheld[channel, member] = username

    def _all(self, channel: str) -> dict[bytes, bytes]:
        return _pairs(_answer(self._ask("HGETALL", channel)))

    def _some(self, channel: str, limit: int) -> dict[bytes, bytes]:
        """All who are listed, or `limit` of them.  In a large room HRANDFIELD takes 2 to 12 times as long."""
        listed: dict[bytes, bytes] = {}
        cursor = b"0"
        while len(listed) < limit:
            cursor, found = _answer(self._ask("HSCAN", channel, cursor, "COUNT", limit))
            listed |= _pairs(found)
            if cursor == b"0":
                break
        return dict(list(listed.items())[:limit])

    def _ask(self, word: str, channel: str, *words: Word) -> "AsyncResult[Any]":
        """Have a command done on who is listed.  Never yields."""
        tag = _tag(channel)
        return self._bus.ask(tag, word, self._bus.key(tag, "listed"), *words)

    def _run(self, script: Script, channel: str, *words: Word) -> Any:
        """Have it run, and return what it answers.  Blocks."""
        return _answer(self._send(script, channel, *words))

    def _send(self, script: Script, channel: str, *words: Word) -> "AsyncResult[Any]":
        """Have it run.  Never yields."""
        if self._withheld and self._bus.is_up:
            withheld, self._withheld = self._withheld, {}
            for (room, member), username in withheld.items():
                self.abandon(room, username, member)
        tag = _tag(channel)
        return self._bus.run(script, tag, (self._bus.key(tag, "seats"), self._bus.key(tag, "listed")), words)


def _tag(channel: str) -> str:
    """The channel's log, which is its own for ever; a name may hold what ends a tag."""
    return channel.rpartition("/")[2]


def _answer(asked: "AsyncResult[Any]") -> Any:
    return asked.get()


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
