# One image for app, API and scheduler; the compose file says which it runs.
FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /venv
COPY requirements.txt constraints.txt ./
RUN --mount=type=cache,target=/tmp/pip-cache \
    /venv/bin/pip install --disable-pip-version-check -r requirements.txt -c constraints.txt \
    && /venv/bin/python -m compileall -q -j 0 /venv
COPY Home.py api.py scheduler.py server.py ./
COPY alembic ./alembic
COPY core ./core
COPY data ./data
COPY pages ./pages
COPY .streamlit/config.toml ./.streamlit/config.toml
RUN /venv/bin/python -m compileall -q -j 0 .

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 continual && mkdir /var/lib/continual && chown continual /var/lib/continual
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER continual
# All state is in CONTINUAL_HOME; the rest may be mounted read-only.
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    LOG_FORMAT=json \
    CONTINUAL_HOME=/var/lib/continual
VOLUME /var/lib/continual
EXPOSE 8501 8000
# Of the app, what is run by default; the compose file has those of the API and the scheduler.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["python", "server.py"]
