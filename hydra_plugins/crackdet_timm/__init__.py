"""Makes `model=timm/NAME` an option for Hydra; `crackdet.config.timm_names` knows the names."""
