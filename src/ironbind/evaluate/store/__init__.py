"""The verdict store and what is written from it."""
