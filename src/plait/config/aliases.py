"""Old names of settings, which recipes and packages written with them still use.

This is the one place that knows them. A recipe with an old name is read as if it had the new one,
and a warning says so.
"""

from __future__ import annotations

from collections.abc import Mapping

ALIASES: Mapping[str, Mapping[str, str]] = {
    "fusion/hybrid": {"own": "branch_loss_weight"},
}
"""Where the setting stands, "KIND/NAME" of a component, "KIND/*" for all of a kind, or a section of
the recipe such as "inputs" -> its old name -> its new name."""
