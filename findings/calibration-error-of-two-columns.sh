#!/usr/bin/env bash
# The expected calibration error of two classes is 0 in one library and 0.1 in another, on the same probabilities
#
# Versions: Python 3.11, netcal 1.4.0, torchmetrics 1.9.0, torch 2.13.0, numpy 2.4.6, scipy 1.17.1
# Behaviour: netcal's ECE is documented as mean |acc(b) - conf(b)| of softmax arrays (n_samples, n_classes). Where two
#   labels occur in y, it compares the second column with the share of the second class instead: over- and
#   underconfidence that cancel in the confidence of the predicted label do not cancel there. A third column, with
#   samples of a third class, brings back the first definition. torchmetrics takes the predicted label's confidence.
# Output seen (confidence 0.8 always; right in 70 % where the first class is predicted, in 90 % where the second is):
#   two classes:                                      netcal 0.100, torchmetrics 0.000
#   one certain, right sample of a third class more:  netcal 0.000, torchmetrics 0.000
# Cure: give netcal the confidences and whether each label was right: ECE().measure(confidence, correct).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet netcal==1.4.0 torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from netcal.metrics import ECE
from torchmetrics.functional.classification import multiclass_calibration_error

predicted = np.repeat([0, 1], 1000)
correct = np.concatenate([np.arange(1000) < 700, np.arange(1000) < 900])
y = np.where(correct, predicted, 1 - predicted)
two = np.where(predicted[:, None] == [0, 1], 0.8, 0.2)
three = np.vstack([np.column_stack([two, np.zeros(2000)]), [[0.0, 0.0, 1.0]]])
y_three = np.append(y, 2)


def both(probabilities, labels):
    theirs = multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), probabilities.shape[1], n_bins=10
    )
    return ECE(10).measure(probabilities, labels), theirs.item()


of_two, of_three = both(two, y), both(three, y_three)
print("two classes:                                      netcal {:.3f}, torchmetrics {:.3f}".format(*of_two))
print("one certain, right sample of a third class more:  netcal {:.3f}, torchmetrics {:.3f}".format(*of_three))
assert of_two[1] < 1e-4 and max(of_three) < 1e-4
assert ECE(10).measure(two.max(axis=1), correct.astype(int)) < 1e-6
assert of_two[0] > 0.09, "two columns have the error of the predicted label now"
PY
