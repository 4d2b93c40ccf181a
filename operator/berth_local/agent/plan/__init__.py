"""The agent's judgement: pure functions from objects and facts to actions, statuses and delays.

Nothing here does I/O, knows the time or draws a random number; callers pass in what was observed.
"""
