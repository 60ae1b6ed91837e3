"""What a host's kernel says of its hardware, read in one go by a small shell script and parsed here."""
