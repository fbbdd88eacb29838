"""The model-bias experiment: what a policy is worth on a plant that its model gets wrong (`make bench-bias`)."""
