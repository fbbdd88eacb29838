"""Controls that run on the host alone: what learning looks like to somebody who has a model."""
