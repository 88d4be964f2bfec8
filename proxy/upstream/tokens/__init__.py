"""What is presented to a registry: challenges, token services, and the authorizations that they gave."""
