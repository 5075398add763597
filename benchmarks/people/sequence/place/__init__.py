"""What each camera of a sequence always sees: its view, the place, and the objects that stand there."""
