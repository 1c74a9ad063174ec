"""The command ``plait points``."""

from __future__ import annotations

from pathlib import Path

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command to plait's."""

    @app.command()
    def points(files: list[Path]) -> None:
        """Count the points of point clouds."""
        from plait.data.cells import load_bytes
        from plait_pointcloud.files import KINDS, read_points

        for file in files:
            print(f"{file}: {len(read_points(*load_bytes(file, Path(), KINDS))):,} points")
