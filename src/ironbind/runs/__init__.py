"""From a job to a run folder."""
