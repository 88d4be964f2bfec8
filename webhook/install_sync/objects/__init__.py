"""What an install's targets get: a pull grant and a pull Secret, written, owned and removed."""
