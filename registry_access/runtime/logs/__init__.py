"""What is written for people: log lines and remarks, without secrets."""
