"""The mathematics and machinery that algorithms share."""
