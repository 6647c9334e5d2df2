"""Estimators that a lesson uses and a run doesn't."""

from math import comb


def pass_at_k(*, samples: int, correct: int, k: int) -> float:
    """Chance that at least one of k answers is right, drawn without replacement from `samples`
    answers of which `correct` are right: the unbiased estimator of Chen et al. 2021, equation 1.

    For a question with two verdicts, guessing alone gives 1 - 2^-k.

    >>> pass_at_k(samples=4, correct=1, k=2)
    0.5
    """
    if not (0 <= correct <= samples and 1 <= k <= samples):
        got = f"samples={samples}, correct={correct}, k={k}"
        raise ValueError(f"expected 0 ≤ correct ≤ samples and 1 ≤ k ≤ samples, got {got}")
    return 1 - comb(samples - correct, k) / comb(samples, k)
