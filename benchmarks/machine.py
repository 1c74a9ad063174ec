"""What every benchmark prints beside its figure: the machine, and how busy it was."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version


def describe() -> str:
    """Processor, cores, Python, torch and load, in one line."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {version('torch')}, load {load}, {sys.platform}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.machine()
