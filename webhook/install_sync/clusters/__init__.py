"""The clusters that installs go to."""
