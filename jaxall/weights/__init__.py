"""Reading, fetching, porting and checking torchvision's weights."""
