"""The standalone site, which can be made as new, so that tests of the page need not start a server each; and which tells
of its connections."""

from socket import IPPROTO_TCP, TCP_NODELAY

from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy import delete

from web.accounts import AccountRow
from web.app import create_app
from web.logins import LoginRow

app = create_app()


@app.post("/renew")
def renew() -> ResponseReturnValue:
    """End all channels, and forget all users."""
    chat = app.extensions["chat"]
    for name in chat.server.channels():
        chat.server.get_channel(name).close()
    chat.database.run(lambda session: [session.execute(delete(row)) for row in (LoginRow, AccountRow)] and None)
    return "", 204


app.extensions["csrf"].exempt(renew)


@app.get("/prompt")
def prompt() -> ResponseReturnValue:
    """Whether the connection sends what is small at once."""
    return str(bool(request.environ["gunicorn.sock"].getsockopt(IPPROTO_TCP, TCP_NODELAY)))
