"""What people do with installs: tokens, syncs, and the pods that pull by them."""
