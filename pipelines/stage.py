"""What every stage shares: parts of work, their outputs, resume, and the manifest.

A stage is a list of `Part`s (usually one per input file) and a `Work` that turns one part into
output files. Beam distributes the parts; nothing but part descriptions passes through the engine.
When a part is done its result is written below `.work/<stage>/<key>/`, so a run that was killed
continues with the parts that are missing, and a stage whose manifest matches is skipped.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Protocol

import apache_beam as beam

from massivetext import storage
from massivetext.dataset import (
    FileRecord,
    atomic_file,
    parse_json,
    read_json,
    sha256_json,
    write_json,
)
from massivetext.errors import MassivetextError, StageError
from massivetext.progress import Progress
from massivetext.scratch import DiskFullError
from massivetext.storage import Location, location
from massivetext.store_errors import reason

from .context import Context, paced
from .execute import execute
from .part import Part, PartOutput, PartResult
from .watched import Watched, progress_name, result_name

# Up to so many files are asked for one by one, more by a listing of their folders.
FEW_FILES = 8


class Work(Protocol):
    """Turns one part into outputs. Must pickle; models and kernels are loaded in `setup`."""

    def setup(self) -> None: ...

    def run(self, part: Part, out: PartOutput) -> None: ...


class RunPart(beam.DoFn):
    """Runs one part unless its result is already there, and writes the result beside it."""

    def __init__(self, root: str, stage: str, results: str, work: Work):
        self.root, self.stage, self.results, self.work = root, stage, results, work

    def setup(self) -> None:
        self.work.setup()

    def process(self, part: Part) -> Iterator[str]:
        root, result_file = location(self.root), _result_file(location(self.results), part)
        if not _complete(root, result_file):
            progress_file = None
            if not storage.is_remote(root):  # there, what is done is told by the parts alone
                progress_file = result_file.with_name(progress_name(part))
                storage.make_folder(progress_file.parent)
            output = PartOutput(root, self.stage, part, progress_file)
            try:
                self.work.run(part, output)
                result = output.finish()
            except Exception as error:
                # The engine wraps what a worker raises in its own words; keep ours for the driver.
                write_json(
                    result_file.with_suffix(".error"),
                    {
                        "message": _describe(error),
                        "type": type(error).__name__,
                        "trace": traceback.format_exc(),
                    },
                )
                raise
            write_json(result_file, asdict(result))
            if progress_file is not None:
                storage.remove(progress_file)
        yield part.name


def _complete(root: Location, result_file: Location) -> bool:
    """Whether a part is done and what it wrote is still there."""
    try:
        result = _load(storage.read_bytes(result_file), result_file)
    except FileNotFoundError:
        return False
    return missing(root, [vars(file) for file in result.files]) is None


def _describe(error: Exception) -> str:
    if isinstance(error, MassivetextError):
        return str(error)
    if isinstance(error, OSError):
        return f"{reason(error)} ({error.filename or 'no file named'})"
    return f"{type(error).__name__}: {error}"


def _result_file(results: Location, part: Part) -> Location:
    return results / result_name(part)


def run_parts(
    context: Context, stage: str, key: str, parts: list[Part], work: Work
) -> list[PartResult]:
    """Run `work` over `parts` on the engine; return the results in the order of `parts`.

    Args:
      stage: name of the stage, for messages and for the folder of results.
      key: as `materialise` gave it: results of another key are not reused.

    Raises:
      StageError: a part failed; names the part and the cause. Finished parts are kept.
    """
    results = context.root / ".work" / key / stage
    storage.make_folder(results)
    for name in storage.sizes(results):
        if name.endswith((".error", ".progress")):
            storage.remove(results / name)

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Parts" >> beam.Create(parts, reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | stage >> beam.ParDo(RunPart(str(context.root), stage, str(results), work))
        )

    watched = Watched(results, parts)
    total = sum(part.bytes for part in parts)
    done = paced(context, watched.bytes)
    with Progress(stage, total, done, note=watched.note, quiet=context.quiet):
        try:
            execute(build, context.engine)
        except DiskFullError:
            raise
        except Exception as error:
            errors = sorted(name for name in storage.sizes(results) if name.endswith(".error"))
            if not errors:
                if isinstance(error, MassivetextError):
                    raise StageError(
                        f"stage {stage}: {error}\n(run the same command again to continue)"
                    ) from error
                trace = results / "engine.log"
                with atomic_file(trace) as log:
                    log.write(str(error).encode())
                lines = [line for line in str(error).splitlines() if line.strip()]
                cause = lines[-1] if lines else type(error).__name__
                raise StageError(f"stage {stage} stopped: {cause}\n(details in {trace})") from error
            file = results / errors[0]
            first = read_json(file)
            raise StageError(
                f"stage {stage}, part {errors[0].removesuffix('.error')}: {first['message']}\n"
                f"(details in {file}; run the same command again to continue)"
            ) from error
    names = storage.sizes(results)
    without = [part.name for part in parts if result_name(part) not in names]
    if without:
        raise StageError(f"stage {stage} ended without a result for {without[0]}; run it again")
    files = [_result_file(results, part) for part in parts]
    return [_load(*pair) for pair in zip(storage.read_all(files), files, strict=True)]


def _load(content: bytes, path: Location) -> PartResult:
    value = parse_json(content, path)
    return PartResult(
        value["counts"], [FileRecord(**file) for file in value["files"]], value["extra"]
    )


def materialise(
    context: Context,
    stage: str,
    depends: dict[str, Any],
    folders: tuple[str, ...],
    produce: Callable[[str], dict[str, Any]],
) -> dict[str, Any]:
    """Return the manifest of `stage`, producing it only when what it depends on has changed.

    Args:
      depends: JSON of everything the output is a function of: config, code version, manifests of
        the stages before it.
      folders: output folders of this stage alone, cleared when the dependencies have changed.
      produce: takes the key for `run_parts`, writes the outputs, returns the manifest's contents,
        which must hold `files`: a list of `FileRecord`s.
    """
    key = sha256_json({"stage": stage, **depends})
    path = context.root / "manifests" / f"{stage}.json"
    if storage.exists(path):
        manifest: dict[str, Any] = read_json(path)
        if manifest.get("key") == key and missing(context.root, manifest["files"]) is None:
            return manifest
        storage.remove(path)
    work = context.root / ".work" / stage
    if not storage.exists(work / key[:16]):
        for folder in [*(context.root / name for name in folders), work]:
            storage.remove_tree(folder)
    started = time.monotonic()
    body = produce(f"{stage}/{key[:16]}")
    body["files"] = [asdict(file) for file in sorted(body["files"], key=lambda f: f.path)]
    manifest = {"stage": stage, "key": key, "depends": depends, **body}
    write_json(path, manifest)
    storage.remove_tree(work)
    if not context.quiet:
        Progress.line(stage, f"done in {time.monotonic() - started:.1f} s")
    return manifest


def missing(root: Location, files: list[dict[str, Any]]) -> str | None:
    """Return the first of a manifest's files below `root` that is not there, or not as long as it
    was written; None when all are."""
    found: dict[str, int] = {}
    listed = storage.is_remote(root) and len(files) > FEW_FILES
    if listed:
        for top in sorted({file["path"].partition("/")[0] for file in files}):
            sizes = storage.sizes(root / top)
            found |= {f"{top}/{name}": size for name, size in sizes.items()}
    for file in files:
        path = file["path"]
        if not listed:
            try:
                found[path] = storage.size(root / path)
            except FileNotFoundError:
                return str(path)
        if found.get(path) != file["bytes"]:
            return str(path)
    return None
