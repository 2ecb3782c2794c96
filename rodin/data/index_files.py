"""Names of the files that stage `index` publishes beside its manifest. Imports no torch: ranks of `index` need none."""

MEANS = "means.npz"
RANGES = "ranges.npz"  # least and greatest value of each texel, as the planes are stored; an older index has none
