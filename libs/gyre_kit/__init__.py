"""What every Gyre service is made of. Nothing in here knows what a dataset or a run is."""
