"""What people read about a sync: status, conditions, Events."""
