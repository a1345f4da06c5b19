"""What a policy that did not say how it chooses most likely did."""
