# The image of Dataflow's workers, also fit for the machine that launches the jobs:
#   docker build --tag IMAGE .
# Its Python and Beam are the launcher's: Beam refuses to mix versions. See docs/dataflow.md.
FROM apache/beam_python3.11_sdk:2.77.0 AS wheel
WORKDIR /source
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY massivetext massivetext
COPY pipelines pipelines
COPY tokenizer tokenizer
COPY trainer trainer
COPY evaluation evaluation
COPY experiments experiments
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM apache/beam_python3.11_sdk:2.77.0
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir "$(ls /wheels/*.whl)[gcp,gs]" && pip check

# Kernels are compiled here, once, and not by every worker. Numba caches by processor, so the target
# is one that the machine that builds the image and all workers have in common: AVX2 and no more.
ENV NUMBA_CACHE_DIR=/opt/massivetext/numba NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=""
COPY docker/warm_up.py /opt/massivetext/warm_up.py
RUN python /opt/massivetext/warm_up.py /tmp/warm_up && rm -r /tmp/warm_up

# Beam's program that starts the Python worker; the default of the base image, said aloud.
ENTRYPOINT ["/opt/apache/beam/boot"]
