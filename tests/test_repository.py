"""The repository speaks of itself truthfully: settings, tables, secrets, commands and links agree with the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.settings import Settings
from core.storage.engine import Database, newest_revision
from core.storage.tables import Base

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(str(field.validation_alias) for field in Settings.model_fields.values())
SECRET = re.compile(
    r"cml_[A-Za-z0-9_-]{20,}|discord(?:app)?\.com/api/webhooks/\d+/\S+|-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}"
    r"|^(?:API_KEY|CONTINUAL_COOKIE_KEY|STREAMLIT_PASSWORD) *= *[\"']?[^\s\"']",
    re.MULTILINE,
)


def _files() -> list[Path]:
    """Files under version control, or, in an export without it, every file that is not made."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    made = {".venv", "var", "__pycache__", "test-results", ".mypy_cache", ".ruff_cache"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.parts) and path.name != ".env"]


def _texts() -> dict[Path, str]:
    kinds = {".md", ".py", ".toml", ".txt", ".yml", ".yaml", ".json", ".example", ".ini", ".sh", ".css", ""}
    return {path: path.read_text("utf-8", "replace") for path in _files() if path.suffix in kinds}


@pytest.mark.parametrize("document", ["docs/settings.md", "env.example"])
def test_every_setting_is_reported_and_no_other(document: str) -> None:
    text = (ROOT / document).read_text()
    pattern = r"^\| `([A-Z_]+)` \|" if document.endswith(".md") else r"^#?([A-Z_]+)="
    assert sorted(re.findall(pattern, text, re.MULTILINE)) == NAMES


def test_compose_hands_every_setting_to_the_containers() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    fixed_in_a_container = {"CONTINUAL_HOME", "FASTAPI_HOST"}
    assert [name for name in NAMES if name not in text and name not in fixed_in_a_container] == []


def test_defaults_in_the_settings_page_are_those_of_the_code() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    for field in Settings.model_fields.values():
        reported = re.search(rf"^\| `{field.validation_alias}` \| ([^|]*) \|", text, re.MULTILINE)
        assert reported is not None
        if isinstance(field.default, (bool, int, float, str)):
            default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default).lower()
            assert reported[1].strip().lower() == default, field.validation_alias


def test_migrations_give_exactly_the_tables(migrated_database: Path) -> None:
    database = Database(f"sqlite:///{migrated_database}")
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        differences = compare_metadata(context, Base.metadata)
    database.dispose()
    assert differences == []


def test_the_newest_migration_is_known_by_its_file_name() -> None:
    script = ScriptDirectory(str(ROOT / "alembic"))
    assert newest_revision() == script.get_current_head()


def test_no_secret_is_committed() -> None:
    found = {str(path.relative_to(ROOT)): SECRET.findall(text) for path, text in _texts().items()}
    assert {name: hits for name, hits in found.items() if hits} == {}
    names = {path.relative_to(ROOT).as_posix() for path in _files()}
    assert names & {".env", ".streamlit/secrets.toml"} == set()


def test_paths_that_the_documents_name_exist() -> None:
    folders = "alembic|benchmarks|core|data|docs|monitoring|pages|tests"
    named = {
        (path.name, name)
        for path, text in _texts().items()
        if path.suffix == ".md" and path.parent in (ROOT, ROOT / "docs")
        for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text)
    }
    assert named
    assert sorted(pair for pair in named if not (ROOT / pair[1]).exists()) == []


def test_links_between_documents_resolve() -> None:
    broken = []
    for path, text in _texts().items():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            linked = (path.parent / file).resolve() if file else path
            anchors = {re.sub(r"[^\w -]", "", h.lower()).strip().replace(" ", "-") for h in _headings(linked)}
            if not linked.exists() or (anchor and anchor not in anchors):
                broken.append(f"{path.relative_to(ROOT)} -> {target}")
    assert broken == []


def _headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if path.suffix == ".md" and path.exists() else []


def _rows_of_changes() -> list[tuple[str, list[str], list[str]]]:
    """What a reader wants to change, the paths that the table of architecture.md gives for it, and the names in them."""
    text = (ROOT / "docs/architecture.md").read_text().partition("## Where to change what")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    marked = [(change, re.findall(r"`([^`]+)`", where)) for change, where in rows]
    is_path = re.compile(r"[/.]")
    return [(c, [m for m in ms if is_path.search(m)], [m for m in ms if not is_path.search(m)]) for c, ms in marked]


def test_every_path_that_says_where_to_change_what_exists_and_holds_the_names() -> None:
    rows = _rows_of_changes()
    assert len(rows) >= 20
    lost = []
    for change, paths, names in rows:
        there = [path for path in paths if (ROOT / path).exists()]
        text = "".join((ROOT / path).read_text() for path in there if (ROOT / path).is_file())
        lost += [f"{change}: {path}" for path in paths if path not in there]
        lost += [f"{change}: {name}" for name in names if not re.search(rf"\b{name}\b", text)]
        assert paths, change
    assert lost == []


def test_readme_names_the_two_commands_and_every_document() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in ("make run", "make test"):
        assert command in readme
    for document in sorted((ROOT / "docs").glob("*.md")):
        assert f"docs/{document.name}" in readme, document.name


def test_make_targets_are_there_and_ci_runs_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("install", "run", "quick", "test", "soak", "check"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert "make check" in workflow
    assert "make test" in workflow


def test_one_file_names_the_dependencies() -> None:
    """Streamlit Community Cloud reads the first of uv.lock, Pipfile, environment.yml and requirements.txt."""
    for name in ("uv.lock", "Pipfile", "environment.yml", "poetry.lock"):
        assert not (ROOT / name).exists()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "project" not in project
    assert "poetry" not in project["tool"]


def test_lock_holds_every_requirement_and_no_index() -> None:
    lock = (ROOT / "constraints.txt").read_text()
    assert "://" not in lock
    held = {line.partition("==")[0].split("[")[0].lower() for line in lock.splitlines() if "==" in line}
    wanted = set()
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            match = re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?>=", line)
            if match:
                wanted.add(match[1].lower())
    assert wanted - held == set()
