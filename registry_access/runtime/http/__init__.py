"""HTTP as our servers speak it: deadlines, sizes, and who the client is."""
