"""The pages of the dashboard: widgets and layout only."""
