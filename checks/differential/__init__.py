"""The differential check: scripts in `families/`, the engine that runs them against two servers, and the matchers.

Deliberately knows nothing about either server beyond its address.
"""
