"""The container files: what is published, bounded, pinned and refused. `make check` has their schemas and hadolint."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from core.settings import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SECRETS = ("API_KEY", "STREAMLIT_PASSWORD", "CONTINUAL_COOKIE_KEY")
ASKS_WHO = {"app", "api"}  # they ask everybody to sign in, and are published to all


def test_the_profiles_are_those_that_the_documentation_names() -> None:
    profiles = {name: tuple(service.get("profiles", ())) for name, service in SERVICES.items()}
    assert profiles == {
        "app": (),
        "api": (),
        "scheduler": (),
        "uptime-kuma": ("kuma",),
        "prometheus": ("monitoring",),
        "grafana": ("monitoring",),
        "postgres": ("postgres",),
        "prefect-server": ("prefect",),
        "prefect-flows": ("prefect",),
    }
    text = (ROOT / "docs/deployment.md").read_text()
    for profile in {p for found in profiles.values() for p in found}:
        assert f"`{profile}`" in text


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_and_starts_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(service.get(limit) for limit in ("mem_limit", "cpus", "pids_limit"))


@pytest.mark.parametrize("name", SERVICES)
def test_only_what_asks_to_sign_in_is_published_to_all(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert name in ASKS_WHO or str(port).startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_a_version(name: str) -> None:
    service = SERVICES[name]
    assert "build" in service or re.search(r":v?\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name: str) -> None:
    for mount in SERVICES[name].get("volumes", ()):
        source = mount.partition(":")[0]
        assert (ROOT / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"]
    assert set(SERVICES[name].get("secrets", ())) <= set(COMPOSE["secrets"])


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_starts_without_the_secrets(secret: str, name: str) -> None:
    environment = SERVICES[name]["environment"]
    assert environment[secret].startswith(f"${{{secret}?set {secret} to ")  # not set: the compose file refuses
    file = environment[f"{secret}_FILE"].removeprefix(
        "/run/secrets/"
    )  # set to nothing: the program refuses an empty file
    assert file in SERVICES[name]["secrets"]
    assert COMPOSE["secrets"][file]["file"] == f"${{{secret}_FILE:-/dev/null}}"


def test_no_secret_has_a_value() -> None:
    for name, service in SERVICES.items():
        for setting, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|API_KEY|COOKIE_KEY|DATABASE_URL|WEBHOOK|PUSH_URL", setting):
                assert re.fullmatch(r"\$\{\w+(:-|\?[^{}]+|:\+/run/secrets/\w+)\}|/run/secrets/\w+", value), (
                    name,
                    setting,
                )


def test_a_secret_in_a_file_is_mounted_where_its_setting_points() -> None:
    for name, service in SERVICES.items():
        for setting, value in service.get("environment", {}).items():
            mounted = re.search(r"/run/secrets/(\w+)", str(value))
            if mounted:
                assert mounted[1] in service["secrets"], (name, setting)
                assert re.fullmatch(r"\$\{\w+_FILE:-/dev/null\}", COMPOSE["secrets"][mounted[1]]["file"])


def test_the_image_runs_as_nobody_in_particular() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last = text[text.index(" AS program") :]
    assert re.search(r"^USER \d{4,}$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert re.search(r"^ARG BASE=python:[\w.-]+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}", "program"}
