"""ImageNet's mean and standard deviation per RGB channel: the defaults of torchvision's detectors."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
