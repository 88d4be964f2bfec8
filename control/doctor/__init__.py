"""`akua doctor`: what is wrong with an installation, from the outside in, and how to mend each thing. It changes nothing."""
