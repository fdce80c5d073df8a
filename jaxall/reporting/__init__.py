"""What people look at: tables in the terminal, plots as PNG."""
