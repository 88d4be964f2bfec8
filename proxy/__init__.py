"""The pull proxy: token service, pulls, REST API and console. It verifies install tokens and can mint none."""
