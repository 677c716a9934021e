"""Models of other libraries without a front end of ours: taken where their own processors keep the gradient."""
