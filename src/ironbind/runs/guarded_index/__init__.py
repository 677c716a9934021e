"""Attacks on an index whose guard the attacker knows."""
