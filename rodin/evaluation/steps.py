"""Names in result rows: the methods by which held-out people are rebuilt, and the steps of the cascade."""

OURS, POSTERIOR_MEAN, MEAN_PERSON, NEAREST_PERSON = "rodin", "posterior mean", "mean person", "nearest person"
"""`method` of `evaluate` rows: the run's models; the same with a single step of the base model; two simple guesses"""

FITTED, LOW, UPSAMPLED = "fitted planes", "their low planes, enlarged", "their low planes, upsampled"
"""`step` of `cascade` rows of training people that uses no base model"""
SEEN, UNSEEN = "made of a picture, training people", "made of a picture, unseen people"
"""`step` of the whole cascade, from the latent of the frontal picture; the three methods but OURS stand beside it"""
