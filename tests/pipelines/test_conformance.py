"""Beam's own conformance suite, as shipped with Beam 2.77, against the local runner."""

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import fn_runner_test

from massivetext.pipelines.local_runner import LocalRunner

pytestmark = pytest.mark.slow


class TestLocalRunnerConformance(fn_runner_test.FnApiRunnerTest):
    def create_pipeline(self, is_drain=False):
        return beam.Pipeline(runner=LocalRunner(2, is_drain=is_drain))
