"""What `api.py` is made of: problem JSON, bodies, access, the middleware, the documentation page."""
