"""Network parts that components share: attention, sequence encoders, pretrained weights."""
