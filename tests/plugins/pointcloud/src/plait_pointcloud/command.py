"""`plait points`: how many points a file holds."""

from __future__ import annotations

from pathlib import Path

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command to plait's."""

    @app.command()
    def points(file: Path) -> None:
        """Count the points of a cloud."""
        from plait_pointcloud.files import read_points

        print(f"{file.name}: {len(read_points(file.read_bytes()))} points")
