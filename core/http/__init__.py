"""The HTTP API behind `api.py`: handlers, access control, request bodies, errors, middleware, documentation."""
