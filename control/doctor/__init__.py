"""`akua doctor`: what is wrong with an installation, from the outside in, and how to fix it. It changes nothing."""
