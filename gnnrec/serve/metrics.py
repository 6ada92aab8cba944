"""What the service counts, as Prometheus reads it."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
UNKNOWN = "other"  # the path of what is no route: paths of strangers would be labels without end


class Metrics:
    def __init__(self, service: Any) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("route", "status")
        self._requests = Counter("gnnrec_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "gnnrec_request_seconds", "Time to the whole answer.", ("route",), buckets=SECONDS, registry=self.registry
        )
        self.swaps = Counter("gnnrec_run_changes", "Changes of the run.", registry=self.registry)
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._service = service
        self.registry.register(self)

    def collect(self) -> list[Metric]:
        """What is looked up when it is asked for."""
        run = GaugeMetricFamily("gnnrec_run_info", "The run that answers.", labels=["run"])
        run.add_metric([self._service.served.name], 1)
        events = GaugeMetricFamily("gnnrec_feedback_events", "In the feedback log.", self._service.log.num_events)
        return [run, events, *self._of_reranking()]

    def _of_reranking(self) -> list[Metric]:
        reranking, reranker = self._service.reranking, self._service.served.reranker
        if reranking is None:
            return []
        lists = CounterMetricFamily(
            "gnnrec_reranks", "Lists to be reordered, and what became of them.", labels=["outcome"]
        )
        for outcome, number in reranking.outcomes.items():
            lists.add_metric([outcome], number)
        seconds = SummaryMetricFamily(
            "gnnrec_rerank_seconds", "Of the language model, a list.", reranking.asked, reranking.seconds
        )
        weight = GaugeMetricFamily("gnnrec_rerank_weight", "What the language model counts beside the graph.")
        if reranker is not None:
            weight.add_metric([], reranker.weight.value)
        return [lists, seconds, weight]

    def observe(self, route: str, status: int, seconds: float) -> None:
        key = (route, status)
        if key not in self._children:  # `labels` takes a lock and builds a key of its own, each time
            self._children[key] = (self._requests.labels(route, str(status)), self._seconds.labels(route))
        count, time = self._children[key]
        count.inc()
        time.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)
