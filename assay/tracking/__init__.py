"""Tracking of experiments in MLflow: parameters, metrics, tags and artifacts.

MLflow is imported only by the first call, because the import takes seconds and most installations don't have it.
"""
