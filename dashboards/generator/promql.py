"""Pieces of PromQL that every dashboard uses, so that each selector carries the dashboard's variables."""

# Buckets of `le` are in Go's form on /metrics ("0.5", "1.0"): written by hand they would have to be, too. No
# dashboard names a bucket: objectives are counted by the runner itself (spanglass_slo_events_total).

RATE = "$__rate_interval"
# The whole range that the dashboard shows: for single values and tables.
RANGE = "$__range"
# Failures that the caller is not to blame for.
BAD = 'blame=~"plugin|host"'
# Everything that counts for the success ratio; a reply's blame is "none".
JUDGED = 'blame!="caller"'


def runner(family, *matchers):
    """A family of the runner itself."""
    return _series(family, 'instance=~"$instance"', *matchers)


def plugin(family, *matchers):
    """A family with the label `plugin`."""
    return _series(family, 'instance=~"$instance"', 'plugin=~"$plugin"', *matchers)


def version(family, *matchers):
    """A family with `plugin` and `version`, on a dashboard that has both variables."""
    return plugin(family, 'version=~"$version"', *matchers)


def rate(series, window=RATE):
    return f"rate({series}[{window}])"


def increase(series, window=RANGE):
    return f"increase({series}[{window}])"


def risen(series, window):
    """The increase of counters that only exist once something has happened: one that is younger than the window counts in
    full, which increase() cannot see."""
    return f"({series} unless {series} offset {window} or increase({series}[{window}]))"


def total(by, expression):
    """The sum by these labels; over everything if there are none."""
    return f"sum by ({by}) ({expression})" if by else f"sum({expression})"


def quantile(share, by, series, window=RATE):
    """Of a histogram, whose name comes without `_bucket`."""
    name, rest = series.split("{", 1)
    labels = ", ".join(["le"] + ([by] if by else []))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{{{rest}[{window}])))"


def buckets(series):
    """What a heatmap is made of."""
    name, rest = series.split("{", 1)
    return f"sum by (le) (rate({name}_bucket{{{rest}[{RATE}]))"


def sum_of(series):
    """The `_sum` of a histogram."""
    return _suffixed(series, "_sum")


def count_of(series):
    """The `_count` of a histogram."""
    return _suffixed(series, "_count")


def _suffixed(series, suffix):
    name, rest = series.split("{", 1)
    return f"{name}{suffix}{{{rest}"


def _series(family, *matchers):
    return f"spanglass_{family}{{{','.join(matchers)}}}"
