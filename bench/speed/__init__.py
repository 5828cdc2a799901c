"""What a trial's speed is made of: the ladder from the published recipe to the fast one, and start-up."""
