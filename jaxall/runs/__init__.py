"""One run: its folder, pictures, network and scores, and what joins several."""
