"""Arithmetic on the figures of bursts. Pure.

A burst is a mapping; its `ok` says whether it counts. What a proxy did in round k stands at index k
of its list, so that two proxies can be compared round by round: the machine's slow drifts, which
both of them saw, cancel out.
"""

import math
import random
import statistics

ENOUGH_ROUNDS = 5  # for an interval that says something
RESAMPLES = 2000


def median(values):
    """None without values."""
    return statistics.median(values) if values else None


def values(bursts, key):
    return [b[key] for b in bursts if b['ok'] and b.get(key) is not None]


def ratios(mine, theirs, key):
    """Mine over theirs in each round in which both count."""
    return [a[key] / b[key] for a, b in zip(mine, theirs)
            if a['ok'] and b['ok'] and a.get(key) is not None and b.get(key)]


def interval(sample):
    """The 95 % bootstrap interval of the median, (low, high); None of fewer than ENOUGH_ROUNDS.
    The same sample always gives the same interval."""
    if len(sample) < ENOUGH_ROUNDS:
        return None
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(sample, k=len(sample)))
                     for _ in range(RESAMPLES))
    return medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]


def significant(value, digits=3):
    """A number as people read it: 0.0123, 1.20, 345, 12,300."""
    if value is None:
        return '-'
    if value == 0:
        return '0'
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f'{round(value, places):,.{max(0, places)}f}'


def ratio_text(sample):
    """`0.66 (0.64-0.68)`, without the interval of few rounds; `-` of none."""
    if not sample:
        return '-'
    bounds = interval(sample)
    text = f'{median(sample):.2f}'
    return f'{text} ({bounds[0]:.2f}-{bounds[1]:.2f})' if bounds else text


def better(a, b):
    """The one of two tries to keep: one that counts, then the less disturbed one."""
    if a is None or (b['ok'], -b.get('foreign', 0)) > (a['ok'], -a.get('foreign', 0)):
        return b
    return a
