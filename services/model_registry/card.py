"""Model cards from facts: what is known is written down, what is not known is not made up."""

from __future__ import annotations

from pathlib import Path

from services.model_registry.models import Version

LONGEST_CARD = 100_000  # characters


def from_lineage(version: Version) -> str:
    """Markdown about a version that a run of ours made."""
    facts = {
        "Base": version.base_version,
        "Made by": version.run,
        "Data": ", ".join(version.dataset_versions),
        "Architecture": version.architecture,
        "Parameters": f"{version.parameter_count:,}" if version.parameter_count else "",
        "Origin": version.origin,
        "Licence": version.licence,
        "Digest": version.digest,
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items() if value)
    return f"# {version.display_name or version.name}\n\n| | |\n|---|---|\n{rows}\n"


def readme_of(folder: Path) -> str:
    """The README that weights came with; empty if there was none."""
    readme = folder / "README.md"
    return readme.read_text("utf-8", errors="replace")[:LONGEST_CARD] if readme.is_file() else ""
