"""Fits and predictions in shards, on many workers, through joblib.

The moments of a density are additive, so a shard is measured where its samples are read, and only
the moments travel. A prediction depends on its own sample alone, so the results of a shard are
written where they are computed. Both run on any backend of joblib: processes of this machine by
default, a Dask cluster with ``joblib.parallel_config(backend="dask")``. The model, the network
included, is written to a file once; tasks carry its path, and each worker process reads it once.
"""

from sklearn_densconf.distributed._fit import fit, fit_batches
from sklearn_densconf.distributed._predict import predict

__all__ = ["fit", "fit_batches", "predict"]
