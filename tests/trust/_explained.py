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
}
