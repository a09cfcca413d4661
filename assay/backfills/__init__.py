"""Many experiments at once, through the public GraphQL API of Dagster's web server: starting, watching, going on."""
