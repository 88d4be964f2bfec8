"""The way to upstream registries: connections, logins, retries. The only importer of aiohttp on the data path."""
