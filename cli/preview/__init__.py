"""Commands that show what would happen: `explain`, `image`, `rewrite`."""
