"""Where else a training is told of, beside its own log: MLflow and Weights & Biases, by `--track KIND:WHERE`."""

from gnnrec.sinks.follow import SINKS, Sinks, follow

__all__ = ["SINKS", "Sinks", "follow"]
