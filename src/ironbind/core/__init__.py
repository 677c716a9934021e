"""The nouns, without behaviour of their own: samples, budgets, encoders, goals, attacks, tasks, results. Everybody may
import them.
"""
