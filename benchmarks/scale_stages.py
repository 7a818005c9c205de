"""The stages of a build up to one of them, on the local engine or without any.

    python scale_stages.py CONFIG UNTIL WORKERS

With 0 workers there is no engine: every DoFn is called in a loop, in this process, and rows are
brought together in memory. That is what the engine's overhead is measured against.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apache_beam as beam

from massivetext.config_file import load
from massivetext.pipelines import build, context, stage
from massivetext.pipelines.exchange import Exchange, split_by_key
from massivetext.pipelines.execute import Engine


class Plain:
    """Stands in for a pipeline and its collections: whatever is applied is done at once."""

    def __init__(self, elements: Iterable[Any] = ()):
        self.elements = list(elements)

    def __or__(self, transform: Any) -> "Plain":
        # `"name" >> transform` wraps it.
        transform = getattr(transform, "transform", transform)
        if isinstance(transform, beam.Create):
            return Plain(transform.values)
        if isinstance(transform, beam.Reshuffle):
            return self
        if isinstance(transform, Exchange):
            batches = [batch for batch in self.elements if batch.num_rows]
            self.elements.clear()
            if not batches:
                return Plain()
            return Plain(split_by_key(batches, transform.key, transform.partitions))
        if isinstance(transform, beam.ParDo):
            return Plain(self._process(transform.fn))
        raise TypeError(f"a build has a transform that is not known here: {transform!r}")

    def _process(self, function: beam.DoFn) -> Iterable[Any]:
        function.setup()
        function.start_bundle()
        for element in self.elements:
            yield from function.process(element) or ()
        function.finish_bundle()
        function.teardown()


def execute(build_pipeline: Callable[[Any], None], engine: Engine) -> None:
    """Do what a pipeline describes, here and now."""
    build_pipeline(Plain())


def main() -> None:
    """Run the stages as the arguments say."""
    path, until, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    config = load(path).config
    place = context.Context(Path(config.output), Engine(max(1, workers)))
    if workers:
        build.build(place, config, until)
        return
    with patch.object(stage, "execute", execute), patch.object(context, "execute", execute):
        build.build(place, config, until)


if __name__ == "__main__":
    main()
