"""Beam's client of a job server, made to notice a server that is gone.

Beam's own client waits for ever when the machine of the job server vanishes, and gives up after
`--job_server_timeout` on jobs that run longer than that where a server numbers jobs as it prepares
them (Prism, Beam's Python server). Here connections are probed while a call waits, and following a
job has no time limit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from apache_beam.options.pipeline_options import (
    DebugOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
)
from apache_beam.runners.portability import artifact_service
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner
from apache_beam.runners.runner import PipelineRunner

from massivetext.errors import StageError

EMBEDDED = "embed"
CONNECT_SECONDS = 60
# Java's gRPC drops clients that probe more often than every five minutes.
PROBE_SECONDS = 310
ANSWER_SECONDS = 50


def prepare(runner: PipelineRunner, options: PipelineOptions) -> None:
    """Make `runner`, when it submits to a running job server, do it through our client."""
    if not isinstance(runner, PortableRunner):
        return
    # Each job would run `pip freeze`, which takes longer than a small stage, for a line in a log.
    options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")
    if options.view_as(PortableOptions).job_endpoint not in (None, EMBEDDED):
        # In place, because runners of Flink and of Spark do more than the class they extend.
        setattr(runner, "create_job_service", _connect)  # noqa: B010 - mypy forbids assignment


@contextmanager
def naming_server(options: PipelineOptions) -> Iterator[None]:
    """Raise a `StageError` that names the job server when it cannot be reached or is lost."""
    endpoint = options.view_as(PortableOptions).job_endpoint
    server = f"job server at {endpoint}" if endpoint else "job server"
    try:
        yield
    except grpc.FutureTimeoutError as error:
        raise StageError(
            f"no {server} answered within {_connect_seconds(options)} s; start it, or correct "
            "--job_endpoint"
        ) from error
    except grpc.RpcError as error:
        code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
        details = error.details() if isinstance(error, grpc.Call) else ""
        raise StageError(
            f"lost the {server} ({code}: {details}); see its log and start it again"
        ) from error


def _connect_seconds(options: PipelineOptions) -> int:
    return min(CONNECT_SECONDS, options.view_as(PortableOptions).job_server_timeout)


def _channel(endpoint: str) -> grpc.Channel:
    probes = [
        ("grpc.keepalive_time_ms", PROBE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", ANSWER_SECONDS * 1000),
        ("grpc.http2.ping_timeout_ms", ANSWER_SECONDS * 1000),
        # Without it probing ends after two probes of a connection that carries no data.
        ("grpc.http2.max_pings_without_data", 0),
    ]
    return grpc.insecure_channel(endpoint, probes)


def _connect(options: PipelineOptions) -> "_Handle":
    channel = _channel(options.view_as(PortableOptions).job_endpoint)
    grpc.channel_ready_future(channel).result(timeout=_connect_seconds(options))
    return _Handle(beam_job_api_pb2_grpc.JobServiceStub(channel), options)


class _Handle(JobServiceHandle):
    """Submits a job and follows it without a time limit."""

    def stage(self, proto_pipeline: Any, artifact_staging_endpoint: str, token: str) -> None:
        if artifact_staging_endpoint:
            with _channel(artifact_staging_endpoint) as channel:
                artifact_service.offer_artifacts(
                    beam_artifact_api_pb2_grpc.ArtifactStagingServiceStub(channel),
                    artifact_service.ArtifactRetrievalService(
                        artifact_service.BeamFilesystemHandler(None).file_reader
                    ),
                    token,
                )

    def run(self, preparation_id: str) -> tuple[str, Iterator[Any], Iterator[Any]]:
        job = self.job_service.Run(
            beam_job_api_pb2.RunJobRequest(preparation_id=preparation_id)
        ).job_id
        messages = self.job_service.GetMessageStream(
            beam_job_api_pb2.JobMessagesRequest(job_id=job)
        )
        states = self.job_service.GetStateStream(beam_job_api_pb2.GetJobStateRequest(job_id=job))
        return job, _until_lost(messages), states


def _until_lost(messages: Iterator[Any]) -> Iterator[Any]:
    """End where the connection does: that it was lost is told by the stream of states."""
    try:
        yield from messages
    except grpc.RpcError:
        return
