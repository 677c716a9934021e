"""The types that every other module uses: samples, budgets, encoders, goals, attacks, tasks, results. Everybody may
import them.
"""
