"""What commands do with data sets: prepare them, show audits and augmentations."""
