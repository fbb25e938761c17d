"""What a pass costs by its number of drafted rows: measured while generating, so that trees fit the machine.

A pass of n rows costs far less than n passes where memory limits it, and nearly as much where arithmetic
does; it depends on the model, the threads and what else runs. So nothing is assumed: each pass that is made
anyway is a measurement, a straight line through them fills the sizes that were not tried, and old
measurements fade.
"""

from __future__ import annotations

SIZES = (0, 1, 2, 3, 5, 7, 11, 15, 23, 31)
"""Drafted tokens of a pass, besides the one that each lane needs anyway; trees are cut to these sizes."""

_SLOPE = 0.15  # of a pass without drafts, for each drafted token, until there are measurements
_LEAN = 60.0  # weight of _SLOPE beside the measurements, in squared tokens
_FADE = 0.9
_OUTLIER = 3.0  # a pass that took this many times what was expected was disturbed


class CostCurve:
    """Seconds of a pass. It changes speed only, never the output."""

    def __init__(self) -> None:
        self._means = [0.0] * len(SIZES)
        self._weights = [0.0] * len(SIZES)
        self._seconds: list[float] | None = None  # the answer of `seconds`, until the next measurement

    def observe(self, drafted: int, seconds: float) -> None:
        """Note that a pass with `drafted` tokens took this long. Numbers that are not in SIZES are
        ignored."""
        if drafted not in SIZES:
            return
        place = SIZES.index(drafted)
        if self.measured:
            seconds = min(seconds, _OUTLIER * self.seconds()[place])
        weight = self._weights[place] * _FADE
        self._means[place] = (self._means[place] * weight + seconds) / (weight + 1)
        self._weights[place] = weight + 1
        self._seconds = None

    @property
    def measured(self) -> bool:
        return any(self._weights)

    @property
    def plain_measured(self) -> bool:
        """Whether a pass without drafts was measured, with which all others are compared."""
        return self._weights[0] > 0

    @property
    def reach(self) -> int:
        """The largest size worth a trial: two steps beyond those measured, since the cost of a row may be
        another one than assumed by far."""
        largest = max((i for i, weight in enumerate(self._weights) if weight), default=0)
        return SIZES[min(largest + 2, len(SIZES) - 1)]

    def slope(self) -> float:
        """What a drafted token costs at least, as a share of a pass without drafts. A node that is less
        likely than this never pays."""
        seconds = self.seconds()
        return min((t / seconds[0] - 1) / n for n, t in zip(SIZES[1:], seconds[1:], strict=True))

    def seconds(self) -> list[float]:
        """The expected time for each of SIZES, in seconds, or in passes as long as nothing was measured. It
        never falls as the size rises."""
        if self._seconds is None:
            self._seconds = self._expected()
        return self._seconds

    def _expected(self) -> list[float]:
        if not self.measured:
            return [1 + _SLOPE * n for n in SIZES]
        base, slope = self._line()
        expected: list[float] = []
        for n, seen, weight in zip(SIZES, self._means, self._weights, strict=True):
            value = (seen * weight + base + slope * n) / (weight + 1)
            expected.append(max(value, expected[-1]) if expected else value)
        return expected

    def _line(self) -> tuple[float, float]:
        """Seconds of a pass without drafts, and of each drafted token: a fit that leans on _SLOPE."""
        measured = list(zip(self._weights, SIZES, self._means, strict=True))
        total = sum(w for w, _, _ in measured)
        centre = sum(w * n for w, n, _ in measured) / total
        mean = sum(w * t for w, _, t in measured) / total
        unit = mean / (1 + _SLOPE * centre)  # of a pass without drafts, if _SLOPE holds
        spread = _LEAN + sum(w * (n - centre) ** 2 for w, n, _ in measured)
        common = _LEAN * _SLOPE * unit + sum(w * (n - centre) * (t - mean) for w, n, t in measured)
        slope = max(0.0, common / spread)
        return max(mean - slope * centre, 0.1 * unit), slope
