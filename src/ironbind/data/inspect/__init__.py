"""Looking at data before a run: counts, problems, a contact sheet."""
