"""Pictures of maps, each a PNG inside the page."""

import base64
import io

import numpy as np
from jaxtyping import Float
from PIL import Image

_SIDE = 96  # pixels of a picture on the page
# White where nothing is attended to, dark blue where most is.
_WHITE, _BLUE = np.array([255.0, 255.0, 255.0]), np.array([0.0, 60.0, 120.0])


def of_weights(weights: Float[np.ndarray, "T S"]) -> str:
    """Returns an <img> of a map, queries downwards, keys to the right; the darkest is its largest weight."""
    share = weights / max(float(weights.max()), 1e-12)
    return _img(_WHITE + share[..., None] * (_BLUE - _WHITE))


def over_image(image: Float[np.ndarray, "Y X C"], patches: Float[np.ndarray, "R C"]) -> str:
    """Returns an <img> of an image that is bright where its patches are attended to."""
    tall, wide = image.shape[0] // patches.shape[0], image.shape[1] // patches.shape[1]
    light = np.kron(patches / max(float(patches.max()), 1e-12), np.ones((tall, wide)))
    shade = 0.15 + 0.85 * light[..., None]
    colours = image if image.shape[-1] == 3 else np.repeat(image[..., :1], 3, axis=-1)
    # Dark pixels would hide what is attended to.
    return _img(255 * shade * (0.25 + 0.75 * colours))


def _img(pixels: Float[np.ndarray, "Y X 3"]) -> str:
    written = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(written, format="PNG")
    data = base64.b64encode(written.getvalue()).decode()
    style = f"image-rendering:pixelated;width:{_SIDE}px;height:{_SIDE}px"
    return f'<img alt="" style="{style}" src="data:image/png;base64,{data}">'
