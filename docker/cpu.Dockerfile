# Extraction, evaluation, the service and benchmarks on a CPU with ONNX Runtime.
ARG BASE_IMAGE=debian:12.12-slim
FROM ${BASE_IMAGE}

USER 0
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY docker/requirements /opt/requirements
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -r /opt/requirements/cpu.txt
RUN groupadd --force --system video \
    && useradd --uid 10001 --user-group --groups video --no-create-home --home-dir /tmp --shell /usr/sbin/nologin reid \
    && install -d -o reid -g reid /models /store

WORKDIR /app
COPY runtime ./runtime
COPY engines ./engines
COPY benchmarks ./benchmarks
COPY bench.py ./
RUN /opt/venv/bin/python -m compileall -q /app

# All files are written to /models, /store (the gallery of the service) or /tmp, so that the root file system can be read-only.
# The official builds of ONNX Runtime send telemetry to their maker unless this variable is set.
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    XDG_CACHE_HOME=/models/.cache
USER 10001
VOLUME /models

# the labels come last, so that another revision rebuilds no other layer
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="reid-edge cpu" \
      org.opencontainers.image.description="Person re-identification on a CPU: runtime, benchmarks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

ENTRYPOINT ["python"]
CMD ["-m", "runtime", "--help"]
