"""The standalone application with a view that waits in the database for a lock that the test holds."""

from sqlalchemy import func, select

from web.app import create_app

app = create_app()


@app.get("/lock/<int:key>")
def lock(key: int) -> str:
    app.extensions["chat"].database.run(lambda session: session.execute(select(func.pg_advisory_xact_lock(key))) and None)
    return "locked"
