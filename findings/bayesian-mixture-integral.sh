#!/usr/bin/env bash
# exp(score_samples) of a BayesianGaussianMixture integrates to less than one, down to a hundredth
#
# Versions: Python 3.11, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: score_samples is documented as the log-likelihood of each sample. It is the expected log-density under
#   the posterior of means and precisions, which is lower by a number that grows with the features and falls with the
#   samples. Ranks within one mixture are right; one mixture per class is no Bayes classifier: where classes have
#   different numbers of samples, the rare one is given too little. GaussianMixture integrates to one.
# Output seen (one component; then two classes that are the same normal distribution in 16 dimensions, 40 and 4000
# samples, diagonal covariances, equal priors):
#   integral by a sum over a grid, 20 samples of 2 features: GaussianMixture 1.000, BayesianGaussianMixture 0.847
#   integral, 200 samples of 64 features: GaussianMixture 1.000, BayesianGaussianMixture 0.011
#   share of new samples given to the rare class: GaussianMixture 34 %, BayesianGaussianMixture 4 %
# Cure: GaussianMixture(reg_covar=...) where densities of different fits are compared.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" - <<'PY'
import numpy as np
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

MIXTURES = (GaussianMixture, BayesianGaussianMixture)
draw = np.random.default_rng(0)


def fitted(mixture, n, d, **parameters):
    return mixture(n_components=1, random_state=0, **parameters).fit(draw.normal(size=(n, d)))


def integral(model):
    """The score at the mean, over that of the normalised Gaussian that it is proportional to."""
    d, log_det = model.means_.shape[1], np.linalg.slogdet(model.covariances_[0])[1]
    return np.exp(model.score_samples(model.means_)[0] + (d * np.log(2 * np.pi) + log_det) / 2)


def show(what, values, form):
    pairs = (f"{mixture.__name__} {value:{form}}" for mixture, value in zip(MIXTURES, values))
    print(f"{what}: {', '.join(pairs)}".replace("%", " %"))


axis = np.linspace(-30, 30, 1501)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
summed = [np.exp(fitted(m, 20, 2).score_samples(grid)).sum() * 0.04**2 for m in MIXTURES]
show("integral by a sum over a grid, 20 samples of 2 features", summed, ".3f")
wide = [integral(fitted(m, 200, 64)) for m in MIXTURES]
show("integral, 200 samples of 64 features", wide, ".3f")
new, shares = draw.normal(size=(5000, 16)), []
for mixture in MIXTURES:
    rare, common = (fitted(mixture, n, 16, covariance_type="diag") for n in (40, 4000))
    shares.append((rare.score_samples(new) > common.score_samples(new)).mean())
show("share of new samples given to the rare class", shares, ".0%")
assert abs(summed[0] - 1) < 1e-3 and abs(wide[0] - 1) < 1e-6 and shares[0] > 0.15
assert summed[1] < 0.95 and wide[1] < 0.1 and shares[1] < 0.1, "score_samples is a log-density now"
PY
