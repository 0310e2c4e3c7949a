# One image for app, API and scheduler; the compose file says which it runs. The stage `prefect` adds Prefect's environment.
ARG BASE=python:3.12.14-slim-trixie@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

FROM ${BASE} AS build
WORKDIR /app
RUN python -m venv /venv
COPY requirements.txt constraints.txt ./
RUN --mount=type=cache,target=/tmp/pip-cache \
    /venv/bin/pip install --disable-pip-version-check --no-compile -r requirements.txt -c constraints.txt \
    && find /venv -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
    && find /venv \( -name '*.pyi' -o -name '*.js.map' \) -delete \
    && /venv/bin/python -m compileall -q -j 0 /venv
COPY Home.py api.py scheduler.py server.py ./
COPY alembic ./alembic
COPY core ./core
COPY data ./data
COPY pages ./pages
COPY .streamlit/config.toml ./.streamlit/config.toml
RUN /venv/bin/python -m compileall -q -j 0 .

FROM ${BASE} AS build-prefect
WORKDIR /build
RUN python -m venv /venv-prefect
COPY requirements-prefect.txt ./
RUN --mount=type=cache,target=/tmp/pip-cache \
    /venv-prefect/bin/pip install --disable-pip-version-check -r requirements-prefect.txt

FROM ${BASE} AS program
RUN useradd --create-home --uid 10001 continual && mkdir /var/lib/continual && chown 10001 /var/lib/continual
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
USER 10001
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

FROM program AS prefect
COPY --from=build-prefect /venv-prefect /venv-prefect
ENV CONTINUAL_PYTHON=/venv/bin/python \
    PREFECT_HOME=/var/lib/continual/prefect \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false \
    PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS=false \
    PREFECT_SERVER_EPHEMERAL_ENABLED=false \
    PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS=20 \
    PREFECT_SERVER_DEPLOYMENT_SCHEDULE_MAX_SCHEDULED_RUNS=20 \
    PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=true \
    PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD=604800
HEALTHCHECK NONE
CMD ["/venv-prefect/bin/python", "-m", "core.jobs.prefect_flow"]

FROM program
