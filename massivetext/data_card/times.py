"""How long each stage took, as the dates of its files tell.

Outputs are the same bytes whenever they are made, so no time stands in them. A stage ends with its
manifest. It begins when another has ended, or when its run began, which writes the config.
"""

from pathlib import Path
from typing import Any

# Manifests are written after the files; copies, and other disks, may round the dates.
SLACK = 2.0


def seconds(root: Path, manifests: dict[str, Any]) -> dict[str, float]:
    """Return the wall time of the stages that ran in one go since the config was written.

    Stages whose files have other dates than a build gives them (copies, a run that was continued)
    are absent.
    """
    ends = {stage: _changed(root / "manifests" / f"{stage}.json") for stage in manifests}
    run = _changed(root / "config.yaml")
    found = {}
    for stage, end in ends.items():
        found_at = (_changed(root / file["path"]) for file in manifests[stage]["files"])
        files = [at for at in found_at if at is not None]
        if end is None or len(files) < len(manifests[stage]["files"]):
            continue
        first = min(files, default=end)
        begins = [at for at in (run, *ends.values()) if at is not None and at <= first and at < end]
        continued = run is not None and first < run <= end
        if begins and not continued and max(files, default=end) <= end + SLACK:
            found[stage] = round(end - max(begins), 1)
    return found


def _changed(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
