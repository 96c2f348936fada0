"""Mutants that change no result, by file, line and change, and why not: no test can kill them."""

# ruff: noqa: E501 - lines of code and their changes, each whole

EXPLAINED: dict[tuple[str, str, str], str] = {
    (
        "metrics/_predictions.py",
        "assert_all_finite(np.where(np.isinf(values), 0, values), input_name=name)",
        "constant: 0 -> 1",
    ): "a finite number in the place of infinities, in a check that only looks for NaN",
    (
        "density/_diagonal.py",
        "return BREADTH * xp.maximum(largest, total_variance(moments))",
        "arguments: xp.maximum(largest, total_variance(moments)) -> xp.maximum(total_variance(moments), largest)",
    ): "a maximum of two",
    (
        "density/_matrix.py",
        "return as_like(np.eye(covariance.shape[-1]), covariance)",
        "sign: -1 -> +1",
    ): "both axes of a square matrix",
    (
        "density/_matrix.py",
        "eye = as_like(np.eye(covariance.shape[0]), covariance)",
        "constant: 0 -> 1",
    ): "both axes of a square matrix",
    (
        "density/_moments.py",
        'BLOCK_BYTES = {"diag": 2**22, "tied": 2**23, "full": 2**23}',
        "constant: 2 -> 3",
    ): "the size of a block, which no result depends on",
    (
        "openset/_discount.py",
        "found = _smallest(loss, np.array([log_temperature, 0.0, 0.0, 0.0, 0.0]))",
        "constant: 0.0 -> 1.0",
    ): "where a search starts, whose minimum is the same",
    (
        "metrics/_ranking.py",
        "best = area_under_risk_coverage(correct, correct)",
        "arguments: area_under_risk_coverage(correct, correct) -> area_under_risk_coverage(correct, correct)",
    ): "the same argument twice",
    (
        "density/_distances.py",
        "return np.flatnonzero((to_numpy(_from_center(plans)) > ROUNDED) & counts)",
        "comparison: to_numpy(_from_center(plans)) > ROUNDED -> to_numpy(_from_center(plans)) >= ROUNDED",
    ): "a bound of the error met exactly: either pass keeps it",
    (
        "metrics/_severity.py",
        "check_consistent_length(severities, confidences)",
        "arguments: check_consistent_length(severities, confidences) -> check_consistent_length(confidences, severities)",
    ): "a check of equal lengths, in another order",
    (
        "density/_blocks.py",
        'n_multiplications = 0 if kind == "diag" else block.shape[0] * block.shape[1] ** 2',
        "constant: 0 -> 1",
    ): "the number of threads, which no result depends on",
    (
        "openset/_discount.py",
        "last = np.minimum(below.sum(axis=0), len(scores) - 1)",
        "operator: len(scores) - 1 -> len(scores) + 1",
    ): "a bound that is never met: the last of the scores is above any share",
    (
        "openset/_familiarity.py",
        "with one_thread_if_few(features.shape[0] * features.shape[1] ** 2):",
        "operator: features.shape[1] ** 2 -> features.shape[1] * 2",
    ): "the number of threads, which no result depends on",
    (
        "density/_covariance_types.py",
        "_matrix.add_full, _matrix.full_to_class, lambda d, k: (d * d * k, d**3 * k)),",
        "operator: d ** 3 -> d * 3",
    ): "the number of threads, which no result depends on",
    (
        "density/_covariance_types.py",
        "_matrix.add_tied, _matrix.tied_to_class, lambda d, k: (d * (d + k), d**3)),",
        "operator: d * (d + k) -> d / (d + k)",
    ): "the number of threads, which no result depends on",
    (
        "openset/_discount.py",
        "STARTS = (0.0, 2.0, 5.0, 10.0)  # widths below the level",
        "constant: 5.0 -> 11.0",
    ): "where a search starts, whose minimum is the same",
    (
        "openset/_fitted.py",
        "log_proba = to_numpy(float64(map_rows(of_labels, 0, X, as_like(codes, X))))",
        "constant: 0 -> 1",
    ): "columns of a buffer that nothing is written to",
    (
        "density/_matrix.py",
        "return xp.where(each > SMALLEST_SHRINKAGE, each, pooled)",
        "comparison: each > SMALLEST_SHRINKAGE -> each >= SMALLEST_SHRINKAGE",
    ): "a bound between rounding and any estimate, met exactly by no data",
    (
        "density/_distances.py",
        "return float(xp.max(deviation)) <= nearest and float(xp.min(deviation)) >= -nearest",
        "comparison: float(xp.max(deviation)) <= nearest -> float(xp.max(deviation)) < nearest",
    ): "a point at the limit is divided by 1",
    (
        "density/_density_classifier.py",
        "for k, (label, model) in enumerate(zip(self.classes, self.estimators, strict=True)):",
        "constant: True -> False",
    ): "a check of our own, of two that are made together",
    (
        "density/_logits.py",
        "is_softmax = values.shape[1] > 1 and np.abs(values.sum(axis=1) - 1).max() < 1e-2",
        "comparison: np.abs(values.sum(axis=1) - 1).max() < 0.01 -> np.abs(values.sum(axis=1) - 1).max() <= 0.01",
    ): "no float64 less 1 is that of 0.01",
    (
        "density/_logits.py",
        "return float(scale * np.exp(REACH if ends[0] > 0 else -REACH))",
        "constant: 0 -> 1",
    ): "both ends have one sign, and where the first is positive it is above 1",
    (
        "density/_logits.py",
        "return of_label * factor - peak - np.log(total), expected - of_label * factor",
        "operator: of_label * factor - peak -> of_label * factor + peak",
    ): "where this is used the largest logit is 0",
    (
        "openset/_discount.py",
        "below = xp.where(known < least, least - known, xp.zeros_like(known))",
        "comparison: known < least -> known <= least",
    ): "a difference that is 0 there",
    (
        "metrics/_predictions.py",
        "check_consistent_length(outcomes, confidence)",
        "arguments: check_consistent_length(outcomes, confidence) -> check_consistent_length(confidence, outcomes)",
    ): "a check of equal lengths, in another order",
    (
        "density/_moments.py",
        'BLOCK_BYTES = {"diag": 2**22, "tied": 2**23, "full": 2**23}',
        "constant: 23 -> 24",
    ): "the size of a block, which no result depends on",
    (
        "density/_matrix.py",
        "if len(factor) <= BLOCK:",
        "comparison: len(factor) <= BLOCK -> len(factor) < BLOCK",
    ): "the size of a block, which no result depends on",
    (
        "openset/_calibration.py",
        "features = features[chosen] if xp is np else xp.take(features, rows, axis=0)",
        "comparison: xp is np -> xp is not np",
    ): "two ways to take the same rows",
    (
        "density/_moments.py",
        "return ahead(measured, parts, n_threads=n_threads, n_waiting=n_threads + 1)",
        "operator: n_threads + 1 -> n_threads - 1",
    ): "how many blocks wait, which no result depends on",
    (
        "openset/_discount.py",
        "return -(log_p.sum() + value) / len(x), -(np.concatenate(derivatives) + of_prior) / len(x)",
        "operator: -(log_p.sum() + value) / len(x) -> -(log_p.sum() + value) * len(x)",
    ): "the loss times a number: the search follows its gradient, which is apart",
    (
        "density/_logits.py",
        "if ends[0] * ends[1] > 0:  # worse than chance at any temperature, or all but equal logits",
        "comparison: ends[0] * ends[1] > 0 -> ends[0] * ends[1] >= 0",
    ): "a slope of exactly 0 at an end, met by no data",
    (
        "density/_logits.py",
        "return float(scale * np.exp(REACH if ends[0] > 0 else -REACH))",
        "comparison: ends[0] > 0 -> ends[0] >= 0",
    ): "not 0 where the product of both is above 0",
}
