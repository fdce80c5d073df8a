"""The page that sets runs beside one another."""
