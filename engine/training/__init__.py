"""Training of LoRA experts, and the starter model they begin from."""
