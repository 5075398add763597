# Extraction, evaluation and benchmarks on a Jetson. The default is JetPack 6; JetPack 7 needs two arguments:
#   --build-arg BASE_IMAGE=nvcr.io/nvidia/tensorrt:25.08-py3 --build-arg CUDA_BINDINGS=13.0.3
# TensorRT, trtexec and CUDA come from the base image. The image contains neither torch nor a model.
ARG BASE_IMAGE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE_IMAGE}

USER 0
# The image has a virtual environment of its own, which sees the tensorrt package of the base image's Python.
# NVIDIA's base images set PIP_CONSTRAINT, which is cleared here.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY docker/requirements /opt/requirements
# the major version must be that of the base image's CUDA
ARG CUDA_BINDINGS=12.8.0
RUN python3 -m venv --system-site-packages /opt/venv \
    && PIP_CONSTRAINT="" /opt/venv/bin/pip install --no-cache-dir -r /opt/requirements/base.txt -r /opt/requirements/service.txt "cuda-bindings==${CUDA_BINDINGS}"
# the group that owns a Jetson's device files
RUN groupadd --force --system video \
    && useradd --uid 10001 --user-group --groups video --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reid \
    && install -d -o reid -g reid /models /store

WORKDIR /app
COPY runtime ./runtime
COPY engines ./engines
COPY benchmarks ./benchmarks
COPY bench.py docker/start.py ./
RUN /opt/venv/bin/python -m compileall -q /app

# All files are written to /models, /store (the gallery of the service) or /tmp, so that the root file system can be read-only.
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/models/.cache \
    CUDA_CACHE_PATH=/models/.cache/cuda
USER 10001
VOLUME /models

# the labels come last, so that another revision rebuilds no other layer
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="reid-edge device" \
      org.opencontainers.image.description="Person re-identification on Jetson: runtime, engines, benchmarks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

# start.py builds and verifies the engine of $REID_MODEL at the first start, then runs Python with the arguments
ENTRYPOINT ["python", "/app/start.py"]
CMD ["-m", "engines", "doctor"]
