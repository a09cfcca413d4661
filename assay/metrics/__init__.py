"""Metrics as functions of weighted items: equal weights give the estimate, a thousand weightings its bootstrap.

They are not taken from scikit-learn because the bootstrap needs all resamples in one array operation, and because
importing ``sklearn.metrics`` takes most of a second. The tests compare every metric with scikit-learn's.
"""
