"""Metrics as functions of weighted items: one weighting is the estimate, a thousand are its bootstrap.

Written here rather than taken from scikit-learn because the bootstrap needs all resamples in one array operation, and
because importing ``sklearn.metrics`` costs most of a second; the tests compare every metric with scikit-learn's.
"""
