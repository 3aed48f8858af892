"""Pages as people see them: drawn by a browser, and not blank."""

import matplotlib.image
import numpy as np
import pytest

from tests.deploy.observability.pictures import GRAPH, STATUS_PAGE, draw_both

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@pytest.fixture(name="folder", scope="module")
def _folder(prometheus, loaded_server, tmp_path_factory):
    """The pictures of the loaded server, and of the Prometheus that watches it."""
    folder = tmp_path_factory.mktemp("pictures")
    draw_both(loaded_server.metrics_port, prometheus.port, folder, "30s")
    return folder


@pytest.mark.parametrize("name", [STATUS_PAGE, GRAPH])
def test_a_picture_is_not_blank(folder, name):
    """Text, lines and colours: a good share of it differs from its background."""
    pixels = (matplotlib.image.imread(folder / name)[:, :, :3] * 255).astype(int)
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)

    assert len(colours) > 100
    assert counts.max() < 0.97 * counts.sum()


def test_the_curves_of_the_status_page_are_drawn(folder):
    """In the blue and the orange of its style sheet, on both halves of the page."""
    pixels = (matplotlib.image.imread(folder / STATUS_PAGE)[:, :, :3] * 255).round().astype(int)
    half = pixels.shape[1] // 2
    blue, orange = [0x25, 0x63, 0xC9], [0xD9, 0x73, 0x0D]

    for colour in (blue, orange):
        found = np.all(np.abs(pixels - colour) < 12, axis=2)
        assert found[:, :half].sum() > 10
        assert found[:, half:].sum() > 10
