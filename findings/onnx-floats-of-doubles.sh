#!/usr/bin/env bash
# Numbers in the code of a float64 network become float32 in its ONNX file
#
# Versions: Python 3.11, torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, numpy 2.4.6
# Behaviour: a Python float beside a float64 tensor (x * 0.1, torch.where(..., 0.3)) is a double in torch. The exporter
#   writes it as a float32 constant and casts that to double: everything after it is right to eight digits only, and
#   a sample on a threshold changes sides.
# Output seen (float64 in, float64 out):
#   x * 0.1 at x = 0.7        torch 0.06999999999999999   onnxruntime 0.07000000104308128
#   x >= 0.1 at x = 0.1       torch True                  onnxruntime False
# Cure: hold numbers as buffers, torch.tensor(0.1, dtype=torch.float64); export.to_onnx of sklearn_densconf does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import onnxruntime
import torch


class Numbers(torch.nn.Module):
    def __init__(self, as_buffer):
        super().__init__()
        self.register_buffer("tenth", torch.tensor(0.1, dtype=torch.float64))
        self.as_buffer = as_buffer

    def forward(self, x):
        tenth = self.tenth if self.as_buffer else 0.1
        return x * tenth, x >= tenth


def run(as_buffer):
    """The outputs of torch and of onnxruntime, for 0.7 and 0.1."""
    module, x = Numbers(as_buffer), torch.tensor([0.7, 0.1], dtype=torch.float64)
    program = torch.onnx.export(module, (x,), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    return [part.tolist() for part in module(x)], session.run(None, {"x": x.numpy()})


torchs, onnx = run(as_buffer=False)
print(f"x * 0.1 at x = 0.7        torch {torchs[0][0]}   onnxruntime {onnx[0][0]}")
print(f"x >= 0.1 at x = 0.1       torch {torchs[1][1]}                  onnxruntime {onnx[1][1]}")
buffered = run(as_buffer=True)
assert abs(buffered[0][0][0] - buffered[1][0][0]) < 1e-16
assert onnx[0].dtype == "float64"
assert abs(torchs[0][0] - onnx[0][0]) > 1e-10, "numbers stay doubles now"
assert torchs[1][1] and not onnx[1][1]
PY
