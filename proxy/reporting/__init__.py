"""What an answer leaves behind: audit records of refusals, Events, and the usage in statuses."""
