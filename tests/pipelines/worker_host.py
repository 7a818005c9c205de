"""A host of SDK workers: `python worker_host.py PORT`, run where only its own folders are seen."""

import sys
import threading

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


class Balancer(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """A worker pool that starts each new worker on the next of several hosts."""

    def __init__(self, ports: list[int]):
        self.hosts = [
            beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(
                grpc.insecure_channel(f"localhost:{port}")
            )
            for port in ports
        ]
        self.started: list[str] = []
        self._lock = threading.Lock()

    def serve(self) -> tuple[int, grpc.Server]:
        """Take requests on a port of this machine; return it and the server."""
        server = grpc.server(thread_pool_executor.shared_unbounded_instance())
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(self, server)
        port = server.add_insecure_port("localhost:0")
        server.start()
        return port, server

    def StartWorker(
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        with self._lock:
            host = self.hosts[len(self.started) % len(self.hosts)]
            self.started.append(request.worker_id)
        return host.StartWorker(request)

    def StopWorker(
        self, request: beam_fn_api_pb2.StopWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        # A host that does not know a worker has nothing to stop.
        for host in self.hosts:
            host.StopWorker(request)
        return beam_fn_api_pb2.StopWorkerResponse()


if __name__ == "__main__":
    # Threads: a process for each job would import everything anew.
    _, server = BeamFnExternalWorkerPoolServicer.start(use_process=False, port=int(sys.argv[1]))
    server.wait_for_termination()
