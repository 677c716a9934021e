"""The protocols that an `Evaluator` evaluates: white-box, replay, minimum norm, corruption."""
