"""Google Cloud Dataflow without Google: each job is kept as it would be submitted, then replayed.

The client library makes the request and serialises the graph as it always does; only its last two
steps are replaced, the upload to the staging bucket and the call that creates the job. What runs is
therefore the staged `pipeline.pb`, in worker processes that have nothing else of the driver, with
the container replaced by a process of this machine.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from apache_beam import coders
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext
from google.protobuf import json_format

from massivetext.pipelines.local_runner import LocalRunner
from massivetext.pipelines.workers import ForkedEnvironment

STAGING = "gs://bucket/staging"
FLAGS = (
    "--runner=DataflowRunner",
    "--project=project",
    "--region=europe-west4",
    "--temp_location=gs://bucket/tmp",
    f"--staging_location={STAGING}",
    "--sdk_container_image=europe-west4-docker.pkg.dev/project/images/massivetext:1",
    "--worker_machine_type=n2-highmem-8",
    "--max_num_workers=250",
    "--no_auth",
)

GROUP_BY_KEY = common_urns.primitives.GROUP_BY_KEY.urn


@dataclass(frozen=True)
class Job:
    """One job as it would be submitted.

    Args:
      request: JSON of the request, `projects.locations.jobs.create`.
      graph: the staged `pipeline.pb`, as uploaded.
    """

    request: str
    graph: bytes

    @property
    def proto(self) -> beam_runner_api_pb2.Pipeline:
        return beam_runner_api_pb2.Pipeline.FromString(self.graph)

    @property
    def names(self) -> list[str]:
        """Full names of the transforms that hold no others, sorted."""
        transforms = self.proto.components.transforms.values()
        return sorted(t.unique_name for t in transforms if not t.subtransforms)

    def named(self, urn: str) -> list[str]:
        """Return the names of the transforms of a kind, sorted."""
        transforms = self.proto.components.transforms.values()
        return sorted(t.unique_name for t in transforms if t.spec.urn == urn)

    def shuffled(self) -> dict[str, tuple[coders.Coder, coders.Coder]]:
        """Return the coders of key and value of what goes through each `GroupByKey`, by name.

        Nothing else is encoded: Dataflow fuses all transforms between two of these.
        """
        proto = self.proto
        context = PipelineContext(proto.components)
        found = {}
        for transform in proto.components.transforms.values():
            if transform.spec.urn == GROUP_BY_KEY:
                [collection] = transform.inputs.values()
                coder = context.coders[proto.components.pcollections[collection].coder_id]
                assert isinstance(coder, coders.TupleCoder)
                found[transform.unique_name] = (coder.key_coder(), coder.value_coder())
        return found

    def environments(self) -> list[beam_runner_api_pb2.Environment]:
        """Return the environments that transforms run in."""
        components = self.proto.components
        used = {t.environment_id for t in components.transforms.values() if t.environment_id}
        return [components.environments[name] for name in sorted(used)]


def leaves(coder: coders.Coder) -> Iterator[coders.Coder]:
    """Yield the coders that a coder of tuples, lists and so on consists of."""
    parts = coder._get_component_coders()
    if not parts:
        yield coder
    for part in parts:
        yield from leaves(part)


def replay(graph: bytes, workers: int) -> None:
    """Run a staged graph on this machine."""
    proto = beam_runner_api_pb2.Pipeline.FromString(graph)
    here = ForkedEnvironment.default().to_runner_api(None)  # type: ignore[arg-type]
    for environment in proto.components.environments.values():
        assert environment.urn == common_urns.environments.DOCKER.urn
        environment.CopyFrom(here)
    LocalRunner(workers).run_via_runner_api(proto, PipelineOptions())


@contextmanager
def service(run: Callable[[Job], None]) -> Iterator[list[Job]]:
    """Stand in for Dataflow: yield a list that fills with the jobs submitted; `run` each of them.

    Needs the extra `gcp`; neither network nor credentials.
    """
    from apache_beam.runners.dataflow.internal import apiclient
    from google.cloud import dataflow

    jobs: list[Job] = []
    staged: dict[str, bytes] = {}

    def upload(_: Any, folder: str, name: str, stream: Any, *args: Any, **kwargs: Any) -> None:
        staged[f"{folder}/{name}"] = stream.read()

    def submit(_: Any, job: Any) -> Any:
        folder = job.google_cloud_options.staging_location
        jobs.append(Job(job.json(), staged.pop(f"{folder}/pipeline.pb")))
        run(jobs[-1])
        state = dataflow.JobState.JOB_STATE_DONE
        return dataflow.Job(id=str(len(jobs)), current_state=state)

    client = apiclient.DataflowApplicationClient
    with pytest.MonkeyPatch.context() as patch:
        # Looking for a metadata server takes minutes where there is none.
        patch.setenv("NO_GCE_CHECK", "true")
        patch.setattr(client, "stage_file", upload)
        patch.setattr(client, "submit_job_description", submit)
        patch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None)
        yield jobs


def request(job: Job) -> Any:
    """Return the request of a job as the service would parse it."""
    from google.cloud import dataflow

    return json_format.Parse(job.request, dataflow.Job()._pb)
