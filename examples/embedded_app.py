"""A Flask application with users of its own, and chat for them at /talk.

    gunicorn -k web.websocket.worker.ChatWorker --chdir examples embedded_app:app

from the top folder of the project; then log in at http://127.0.0.1:8000 as `ada` (password `lovelace`) or `bob`
(`babbage`).  Only ada may create channels: she has to make the first one.
"""

import os
import secrets

from flask import Flask, redirect, render_template_string, request, session, url_for
from flask_wtf.csrf import CSRFProtect
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.wrappers import Response

from web import Chat

USERS = {name: generate_password_hash(password) for name, password in [("ada", "lovelace"), ("bob", "babbage")]}
NOBODY = generate_password_hash(secrets.token_hex())  # an unknown name must take as long to refuse as a known one
PAGE = """<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>Host</title>
{% if session.name %}<p>You are {{ session.name }}. <a href="{{ url_for('chat.page') }}">Talk</a></p>{% endif %}
<form method="post" action="{{ url_for('logout' if session.name else 'login') }}">
  <input type="hidden" name="csrf_token" value="{{ csrf_token() }}">
  {% if not session.name %}
  <label>Name <input name="name"></label> <label>Password <input name="password" type="password"></label>
  {% endif %}
  <button>Log {{ "out" if session.name else "in" }}</button>
</form>
"""

app = Flask(__name__)
# Set it, so that logins survive a restart.
app.config.update(SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(), SESSION_COOKIE_SAMESITE="Lax")
CSRFProtect(app)


def may(username: str, _channel: str, action: str) -> bool:
    """Tell what users may do; this is asked for every action, and again for open sockets."""
    return action != "moderate" and (action != "create" or username == "ada")


chat = Chat(app, url_prefix="/talk", identify=lambda: session.get("name"), authorize=may)


@app.get("/")
def home() -> str:
    return render_template_string(PAGE)


@app.post("/login")
def login() -> Response:
    name = request.form.get("name", "")
    if not check_password_hash(USERS.get(name, NOBODY), request.form.get("password", "")):
        return Response("wrong name or password", 401)
    session.clear()
    # The chat finds the sockets of a login by its `sid`.
    session.update(name=name, sid=secrets.token_urlsafe())
    return redirect(url_for("home"), 303)


@app.post("/logout")
def logout() -> Response:
    chat.close_session(session.get("sid", ""))
    session.clear()
    return redirect(url_for("home"), 303)
