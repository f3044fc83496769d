"""The standalone site, for `gunicorn wsgi:app`; `python wsgi.py` serves it by itself, for development."""

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()  # before anything else can import what it replaces

from web.app import create_app

app = create_app()

if __name__ == "__main__":
    from web.serve import main

    main(app)
