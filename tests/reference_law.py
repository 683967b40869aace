"""What theory says about a pair (Q, P), computed by brute force in NumPy from the two densities alone."""

import numpy as np
from scipy import special


class ReferenceLaw:
    """Quadrature over the quantiles of Q and P together, where the density ratio r = dQ/dP takes its values.

    Args:
        q: target, a frozen ``scipy.stats`` distribution.
        p: proposal, another one.
        peak: the largest value of r, where it is known.
    """

    def __init__(self, q, p, peak=None, n=200_000):
        u = (np.arange(n) + 0.5) / n
        x = np.concatenate([q.ppf(u), p.ppf(u)])
        ratio = np.exp(q.logpdf(x) - p.logpdf(x))
        order = np.argsort(-ratio, kind="stable")
        self.peak = ratio.max() if peak is None else peak
        self._descending = ratio[order]
        weight = 1 / (n * (1 + self._descending))  # of P in the mixture that the points come from
        self._under_p = np.concatenate([[0], np.cumsum(weight)])
        self._under_q = np.concatenate([[0], np.cumsum(weight * self._descending)])
        self._weight_q = weight * self._descending

    def widths(self, h):
        """w_P(h), w_Q(h): the probabilities of r >= h."""
        count = np.searchsorted(-self._descending, -np.asarray(h), side="right")
        return self._under_p[count], self._under_q[count]

    def survival(self, h):
        """E_P[(r - h)^+]."""
        w_p, w_q = self.widths(h)
        return w_q - h * w_p

    def kl_bits(self):
        inside = self._descending > 0
        return np.sum(self._weight_q[inside] * np.log2(self._descending[inside]))

    def channel_simulation_bits(self):
        _, w_p, mass = self._levels()
        return -np.sum(mass * np.log2(w_p))

    def gprs_log2_steps(self):
        """E[log2 K] of greedy Poisson rejection sampling.

        The accepted level h has density w_P; the rejected arrivals before it form a Poisson process outside the
        acceptance region, with mean sigma(h) + ln E_P[(r - h)^+].
        """
        h, _, mass = self._levels()
        survival = self.survival(h)
        stretch = h[0] + np.concatenate(
            [[0], np.cumsum(np.diff(h) * 0.5 * (1 / survival[1:] + 1 / survival[:-1]))]
        )
        return np.sum(mass * _log2_of_poisson(np.maximum(stretch + np.log(survival), 0)))

    def a_star_log2_steps(self):
        """E[log2 (index + 1)] of the Poisson functional representation.

        Given the ratio R of the winner, index + 1 is geometric with mean E_P[max(r, R)] = R + E_P[(r - R)^+].
        """
        mean = np.maximum(self._descending + self.survival(self._descending), 1)
        return np.sum(self._weight_q * _log2_of_geometric(mean)) / self._weight_q.sum()

    def _levels(self):
        """Levels h, w_P there, and the probability of each under the density w_P of h."""
        h = self.peak * special.expit(
            np.linspace(-20, 13, 20_000)
        )  # dense near the peak, where sigma diverges
        w_p = self.widths(h)[0]
        h, w_p = h[w_p > 0], w_p[w_p > 0]
        edges = np.concatenate([[0], 0.5 * (h[1:] + h[:-1]), [self.peak]])
        mass = w_p * np.diff(edges)
        return h, w_p, mass / mass.sum()


def _log2_of_poisson(mean):
    """E[log2 (1 + N)], N a Poisson variable, for an array of means."""
    grid = np.linspace(0, 10, 500) ** 2
    k = np.arange(250)
    log_pmf = special.xlogy(k, grid[:, None]) - grid[:, None] - special.gammaln(k + 1)
    large = np.log2(1 + mean) - mean / (2 * np.log(2) * (1 + mean) ** 2)
    return np.where(mean < 100, np.interp(mean, grid, np.exp(log_pmf) @ np.log2(k + 1)), large)


def _log2_of_geometric(mean):
    """E[log2 N], N a geometric variable on 1, 2, ..., for an array of means."""
    grid = np.geomspace(1, max(mean.max(), 2), 400)
    k = np.arange(1, int(60 * grid[-1]))
    log_pmf = special.xlogy(k - 1, 1 - 1 / grid[:, None]) - np.log(grid[:, None])
    return np.interp(mean, grid, np.exp(log_pmf) @ np.log2(k))
