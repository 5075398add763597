"""Image files of people: find, decode, crop and resize them, and record those that cannot be used."""
