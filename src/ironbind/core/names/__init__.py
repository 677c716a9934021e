"""Names of published classes that encoders and data sets share. Data only."""
