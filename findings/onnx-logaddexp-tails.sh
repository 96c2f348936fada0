#!/usr/bin/env bash
# torch's exporter writes logaddexp without its guard against under- and overflow
#
# Versions: Python 3.11, torch 2.13.0, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6
# Behaviour: torch.logaddexp is exact for any two log-probabilities. torch.onnx.export(dynamo=True) writes it
#   as Exp, Exp, Add, Log: in float32 minus infinity below about -103, infinity above 88, and digits lost in
#   between. logsumexp of the same two numbers becomes ReduceLogSumExp, which is right.
# Output seen:
#   operators of logaddexp: Exp Exp Add Log
#   torch logaddexp      -99.687  -699.687   100.313
#   ONNX logaddexp       -99.668      -inf       inf
#   ONNX logsumexp       -99.687  -699.687   100.313
# Cure: torch.logsumexp(torch.stack([a, b]), dim=0) in whatever will be exported.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import io

import torch
from onnxruntime import InferenceSession


class Add(torch.nn.Module):
    def forward(self, a, b):
        return torch.logaddexp(a, b)


class Stack(torch.nn.Module):
    def forward(self, a, b):
        return torch.logsumexp(torch.stack([a, b]), dim=0)


def export(module, *inputs):
    program = torch.onnx.export(module, inputs, dynamo=True, verbose=False)
    file = io.BytesIO()
    program.save(file)
    session = InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    values = session.run(None, {name: x.numpy() for name, x in zip(names, inputs)})[0]
    return torch.tensor(values), [node.op_type for node in program.model.graph]


a = torch.tensor([-100.0, -700.0, 100.0])
b = a - 1
torch_adds = Add()(a, b)
onnx_adds, operators = export(Add(), a, b)
onnx_stacks, _ = export(Stack(), a, b)
print("operators of logaddexp:", *operators)
for name, values in ("torch", torch_adds), ("ONNX", onnx_adds), ("ONNX", onnx_stacks):
    function = "logsumexp" if values is onnx_stacks else "logaddexp"
    print(f"{name + ' ' + function:<18}", *(f"{value:>9.3f}" for value in values.tolist()))
assert operators == ["Exp", "Exp", "Add", "Log"], "the exporter writes another formula now"
assert onnx_adds[1] == -torch.inf and onnx_adds[2] == torch.inf
assert torch.allclose(torch_adds, onnx_stacks)
PY
