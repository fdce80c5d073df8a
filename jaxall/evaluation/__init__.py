"""Predictions and the scores made from them; numpy only."""
