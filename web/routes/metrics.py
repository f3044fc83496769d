"""What the operator's Prometheus reads.  For the standalone site."""

from flask import Blueprint, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from web.metrics import Metrics


def make_metrics(metrics: Metrics) -> Blueprint:
    """Return the blueprint with `/metrics`."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def show() -> Response:
        return Response(metrics.expose(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return blueprint
