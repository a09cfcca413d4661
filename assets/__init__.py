"""The software-defined assets: one thin file per stage."""

import warnings

import dagster as dg

# Partitioned checks are a preview in Dagster; what they do is held by our own tests, so no warning at every start.
warnings.filterwarnings(
    "ignore", category=dg.PreviewWarning, message="Specifying a partitions_def on an AssetCheckSpec"
)
# So is where conditions of one's own are evaluated; held by our own tests too.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message=".*use_user_code_server")
