"""Stage ``normalized``: columns scaled by what was fitted on train."""
