"""Takes what members ask for: refuses it, or hands it on to those who do it.

It runs in the hub, so nothing here yields.  What has to be looked up is not judged here but where its turn comes.
"""

from chat.archive import Archive
from chat.changes import right_to
from chat.clock import Clock
from chat.config import ServerConf
from chat.errors import ChatError, Forbidden
from chat.event import Deleted, Edited, IsTyping, Message, Whisper
from chat.loop import ChannelLoop
from chat.member import Member
from chat.names import check_text, check_username
from chat.outgoing import Said
from chat.registry import ChannelRecord
from chat.requests import Delete, Edit, History, Publish, Request, Typing, id_of
from chat.typists import Typists


class Reception:
    """That of one channel."""

    def __init__(
        self, loop: ChannelLoop, record: ChannelRecord, *, conf: ServerConf, archive: Archive | None, clock: Clock
    ) -> None:
        self._loop = loop
        self._record = record
        self._conf = conf
        self._archive = archive
        self._clock = clock
        self._typists = Typists()

    def receive(self, member: Member, request: Request) -> None:
        """Do it, have it done, or refuse it.  Never yields."""
        try:
            if isinstance(request, Publish | Edit | Delete):
                self._say(member, self._event(member, request))
            elif isinstance(request, History):
                self._look_back(member, request)
            elif isinstance(request, Typing):
                self._type(member)
            else:
                self.mark(member.username, request.offset)
        except ChatError as exc:
            self._loop.out.refuse(member, id_of(request) or "", exc)

    def mark(self, username: str, offset: int) -> None:
        """Note how far a user has read, which is no further than has been said.  Never yields."""
        if self._archive is not None:
            self._archive.mark(self._record.log, username, min(offset, self._loop.fanout.offset))

    def _say(self, member: Member, event: Message | Edited | Deleted | Whisper) -> None:
        self._loop.inbox.force(Said(event, member, event.id))
        self._loop.floor.enter(member, full=self._loop.inbox.full)

    def _event(self, member: Member, request: Publish | Edit | Delete) -> Message | Edited | Deleted | Whisper:
        now, id = self._clock.now(), request.id or ""
        if isinstance(request, Delete):
            return _permitted(member, Deleted(request.target, member.username, now, id))
        text = check_text(request.text, self._conf.max_message)
        if isinstance(request, Edit):
            return _permitted(member, Edited(request.target, member.username, text, now, id))
        if ("publish" if request.to is None else "whisper") not in member.rights:
            raise Forbidden
        if request.to is None:
            return Message(member.username, text, now, id)
        return Whisper(member.username, check_username(request.to), text, now, id)

    def _look_back(self, member: Member, request: History) -> None:
        if "history" not in member.rights:
            raise Forbidden
        self._loop.reader.page(member, request)

    def _type(self, member: Member) -> None:
        if "publish" not in member.rights or self._loop.ended or self._loop.fanout.is_large:
            return
        if self._typists.may_tell(member.username, self._clock.monotonic()):
            self._loop.out.tell(IsTyping(member.user))


def _permitted(member: Member, event: Edited | Deleted) -> Edited | Deleted:
    """`event`, where the member may do that to any message at all.  Raises: Forbidden."""
    if not member.rights & {right_to(event), "moderate"}:
        raise Forbidden
    return event
