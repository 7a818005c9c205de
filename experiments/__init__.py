"""Many small trainings from one set of token stores: proxies, ladders, ablations."""
