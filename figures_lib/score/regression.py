"""The line through learned against true values."""

from torch import Tensor


def fit_line(true: Tensor, learned: Tensor) -> tuple[float, float]:
    """R² and slope of the least-squares line learned = slope·true + offset."""
    x, y = true.flatten().double(), learned.flatten().double()
    x, y = x - x.mean(), y - y.mean()
    covariance, power = x @ y, x @ x
    if power == 0 or y @ y == 0:
        return 0.0, 0.0
    return float(covariance**2 / (power * (y @ y))), float(covariance / power)
