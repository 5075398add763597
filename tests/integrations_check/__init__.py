"""`make integrations-check`: run exported files inside the released trackers, each in an environment of its own."""
