#!/usr/bin/env bash
# onnxruntime's largest class ignores a NaN, unless the NaN is in the first column
#
# Versions: Python 3.11, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6
# Behaviour: in numpy and torch the maximum of a row with a NaN is NaN, and the arg max points at it.
#   onnxruntime's ReduceMax and ArgMax (CPU, float32) compare with >, which is false for NaN: a NaN counts
#   only where the comparison starts. A network that computes NaN for a class then answers with the best
#   of the others, and its largest score is an ordinary number: no guard after the maximum sees it.
# Output seen (10 rows of 10 scores, in row i a NaN in column i):
#   numpy        maxima that are NaN: 10   arg max at the NaN: 10
#   onnxruntime  maxima that are NaN: 1   arg max at the NaN: 1
# Cure: test for NaN (IsNaN) in the graph before anything reduces, or on the scores themselves.
# Also: onnxruntime issue 10514 (open), about ReduceMax and the number of NaNs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/bin/python" - <<'PY'
import numpy as np
from onnx import TensorProto, helper
from onnxruntime import InferenceSession

nodes = [
    helper.make_node("ReduceMax", ["scores", "axes"], ["top"], keepdims=0),
    helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
]
graph = helper.make_graph(
    nodes,
    "head",
    [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 10])],
    [
        helper.make_tensor_value_info("top", TensorProto.FLOAT, ["n"]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
    ],
    [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

scores = np.tile(np.arange(10, dtype=np.float32), (10, 1))
np.fill_diagonal(scores, np.nan)


def report(name, top, label):
    lost, at_nan = np.isnan(top).sum(), (label == np.arange(10)).sum()
    print(f"{name:<12} maxima that are NaN: {lost}   arg max at the NaN: {at_nan}")
    return lost, at_nan


assert report("numpy", scores.max(axis=1), scores.argmax(axis=1)) == (10, 10)
assert report("onnxruntime", *session.run(None, {"scores": scores})) == (1, 1), "NaN is seen now"
PY
