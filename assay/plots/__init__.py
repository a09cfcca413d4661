"""Pictures for the UI: small PNG files that show what a stage made."""
