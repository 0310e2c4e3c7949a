"""The app as `make run` and the container serve it: Home.py behind compression, which Streamlit alone leaves out."""

from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from streamlit import App

app = App("Home.py", middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)])
