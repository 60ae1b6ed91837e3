"""The generated pages are what the code says, and every link of the docs leads somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["keys.md", "inventory.md"])
def test_generated_pages_are_up_to_date(name: str) -> None:
    said = f"docs/{name} is not up to date: run python docs/generate.py"
    assert (ROOT / "docs" / name).read_text() == script().PAGES[name](), said


def test_every_key_of_the_inventory_is_explained() -> None:
    page = script().inventory()
    for word in ("`ssh_host_key`", "`function_numbers`", "`jump`", "`state_version`", '`"overlay"`', "must be given"):
        assert word in page


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target
