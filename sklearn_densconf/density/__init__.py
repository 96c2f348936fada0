"""Class-conditional densities on the activations of a network."""
