"""The JAX decoder trainer: reads shards, never imports Beam or TensorFlow."""
