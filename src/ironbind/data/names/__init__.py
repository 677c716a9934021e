"""Class names and prompt templates."""
