"""Local features of photographs: SIFT keypoints (Lowe, IJCV 2004), with RootSIFT descriptors (Arandjelovic and
Zisserman, CVPR 2012), and the descriptors that the mirrored photograph would have.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_KEYPOINTS = 40  # of a photograph: enough to recognise a crop, few enough to compare 40,000 photographs
MIN_KEYPOINT = 4.0  # pixels; smaller ones are noise of the JPEG
CONTRAST, EDGE = 0.01, 20  # thresholds below OpenCV's defaults, because concrete has little contrast
TARGET_DEVIATION = 40.0  # of grey values: brightness and contrast of the photograph do not matter
# The 4 x 4 x 8 bins of a mirrored descriptor: rows in reverse order, and orientations negated.
MIRRORED = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [-bin % 8 for bin in range(8)]].ravel()


@dataclass(frozen=True)
class Features:
    """Descriptors (K, 128) in half precision, positions (K, 2) in pixels, x before y, and the photograph's width."""

    descriptors: NDArray[np.float16]
    points: NDArray[np.float32]
    width: int

    def mirrored(self) -> "Features":
        """Return the features of the photograph mirrored from left to right."""
        points = self.points * np.array([-1, 1], np.float32) + np.array([self.width - 1, 0], np.float32)
        return Features(self.descriptors[:, MIRRORED], points, self.width)


def find_features(grey: NDArray[np.uint8]) -> Features:
    """Return the strongest keypoints of a photograph (height, width)."""
    # OpenCV first doubles the size to find the smallest keypoints, which are noise here
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
    scaled = (half - half.mean()) / (half.std() + 1e-3) * TARGET_DEVIATION + 128
    image = scaled.clip(0, 255).astype(np.uint8)
    sift = cv2.SIFT_create(contrastThreshold=CONTRAST, edgeThreshold=EDGE)  # type: ignore[attr-defined]
    keypoints = sorted(sift.detect(image, None), key=lambda keypoint: -keypoint.response)
    keypoints = [keypoint for keypoint in keypoints if 2 * keypoint.size > MIN_KEYPOINT][:MAX_KEYPOINTS]
    width = grey.shape[1]
    if not keypoints:
        return Features(np.zeros((0, 128), np.float16), np.zeros((0, 2), np.float32), width)
    keypoints, raw = sift.compute(image, keypoints)
    descriptors = np.sqrt(raw / (raw.sum(axis=1, keepdims=True) + 1e-7)).astype(np.float16)
    points = 2 * np.array([keypoint.pt for keypoint in keypoints], np.float32) + 0.5
    return Features(descriptors, points, width)


def texture(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the texture of a photograph (height, width): details of 2 to 8 pixels, of equal strength everywhere.

    Without the coarse part two different cracks correlate, because both are dark on bright.
    """
    fine = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.5)
    band = fine - cv2.GaussianBlur(fine, (0, 0), 8)
    deviation = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 8)) + 1.0
    return np.asarray(band / deviation)
