"""One file a component: the collections that `Gyre` has as attributes."""
