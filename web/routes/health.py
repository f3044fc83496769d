"""Whether the process lives, and whether it should be sent new users.  For the standalone site."""

from flask import Blueprint, Response, jsonify, make_response

from web.host import Host


def make_health(host: Host) -> Blueprint:
    """Return the blueprint with `/healthz` and `/readyz`."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        if not host.is_ready:
            return make_response(jsonify(status="draining"), 503)
        if not host.server.is_up:
            return make_response(jsonify(status="without Redis"), 503)
        host.server.channels()  # asks the registry, and so the database
        return jsonify(status="ready", connections=len(host.gate))

    return blueprint
