"""docs/import.md shows what really comes of its template."""

import re
from pathlib import Path

import pytest

from runtime.importing.resolver import Given
from runtime.importing.templates import import_template
from runtime.importing.writing import written

PAGE = Path(__file__).resolve().parents[2] / "docs" / "import.md"


def test_the_template_of_the_page_becomes_the_file_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template, expected = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    Path("template.yaml").write_text(template)
    draft, findings = import_template(Path("template.yaml"), Given(region="eu-west-1", account="123456789012"), into=Path())
    assert written(draft, header=("Made by `esm import` from template.yaml.",)) == expected
    assert f"  {findings.left_out[0]}\n" in PAGE.read_text()
