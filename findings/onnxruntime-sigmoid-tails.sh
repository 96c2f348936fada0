#!/usr/bin/env bash
# A probability behind a sigmoid is exactly 0 below e^-18 in onnxruntime, and has no right digit just above
#
# Versions: Python 3.11, onnxruntime 1.32.0 (CPU), onnx 1.23.2, numpy 2.4.6
# Behaviour: Sigmoid is 0.5 plus a quotient of polynomials: right to about 1e-7, and not to some digits of what is small.
#   float32 logits of -18 and less all become 0, -17 becomes more than twice what it should be. In float64 the end is
#   at -37. Probabilities below cannot be ranked any more, and their logarithm is -inf: a sample of the class has an
#   infinite loss. Softmax of [0, z] is right, to the last digit that float32 has.
# Output seen (z, exact, Sigmoid, Softmax of [0, z]):
#   float32  -10  4.540e-05  4.539e-05  4.540e-05
#   float32  -17  4.140e-08  8.941e-08  4.140e-08
#   float32  -18  1.523e-08  0.000e+00  1.523e-08
#   float32  -50  1.929e-22  0.000e+00  1.929e-22
#   float64  -30  9.358e-14  9.348e-14  9.358e-14
#   float64  -50  1.929e-22  0.000e+00  1.929e-22
# Cure: export logits, and take the sigmoid outside; or write it as Softmax of [0, z].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/bin/python" - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper


def run(operation, x, **attributes):
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    taken, given = (helper.make_tensor_value_info(name, kind, x.shape) for name in "xy")
    node = helper.make_node(operation, ["x"], ["y"], **attributes)
    graph = helper.make_graph([node], "graph", [taken], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=providers)
    return session.run(None, {"x": x})[0]


def row(z, kind):
    exact, x = 1 / (1 + np.exp(-float(z))), np.array([z], kind)
    pair = np.stack([np.zeros_like(x), x], axis=1)
    found = run("Sigmoid", x)[0], run("Softmax", pair, axis=1)[0, 1]
    print(f"{kind}  {z:3}  {exact:.3e}  {found[0]:.3e}  {found[1]:.3e}")
    return exact, *map(float, found)


rows = [row(z, "float32") for z in (-10, -17, -18, -50)] + [row(z, "float64") for z in (-30, -50)]
for exact, _, by_softmax in rows:
    assert abs(by_softmax / exact - 1) < 1e-5
assert rows[2][1] == rows[3][1] == rows[5][1] == 0, "small probabilities are not 0 now"
PY
