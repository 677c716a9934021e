"""Samples and adversarial examples on a page: images, waveforms, point clouds."""
