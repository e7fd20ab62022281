"""How the parts learn: matching, losses, simulated events, and one objective a method."""
