"""The numbers that Prometheus reads from the service."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

MEDIA = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
CROPS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counts what one service does."""

    def __init__(self, *, accepted: Callable[[], int], rows: Callable[[], int]) -> None:
        """`accepted` returns the number of requests that wait for the model or use it, and `rows` that of the gallery."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "reid_requests",
            "Requests that were answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "reid_request_seconds",
            "Seconds from the header of a request to the end of its answer",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._crops = Histogram(
            "reid_batch_crops", "Crops in a run of the model", buckets=CROPS, registry=self.registry
        )
        waiting = Gauge(
            "reid_accepted_requests", "Requests that wait for the model or use it", registry=self.registry
        )
        waiting.set_function(accepted)
        stored = Gauge("reid_gallery_rows", "Rows of the gallery", registry=self.registry)
        stored.set_function(rows)
        ProcessCollector(registry=self.registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer. `route` is the pattern of its path, such as /v1/rows/{id}."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def ran(self, crops: int) -> None:
        """Count a run of the model."""
        self._crops.observe(crops)

    def text(self) -> bytes:
        """Return all numbers in the text format of Prometheus."""
        return generate_latest(self.registry)
