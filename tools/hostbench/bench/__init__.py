"""A world for hosts: what `up ec2` launches boots here, on a machine of its own, with all that it talks to."""
