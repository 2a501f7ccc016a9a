"""MIND-SSC against its definition, voxel by voxel."""

import numpy as np
import pytest
import torch
from registration_images import noise, textured

from voxelsmith.register.mind import PAIRS, mind_ssc
from voxelsmith.register.similarity import mse


def by_definition(image, radius, dilation):
    """Descriptors (12, *grid) of an image: patches of neighbours, one after the other."""
    grid = image.shape
    last = np.array(grid) - 1

    def at(voxel):
        return image[tuple(np.clip(voxel, 0, last))]

    def neighbour(side):
        step = np.zeros(3, int)
        step[side[0]] = side[1] * dilation
        return step

    distances = np.zeros((len(PAIRS), *grid))
    for voxel in np.ndindex(*grid):
        patch = [
            np.add(voxel, d)
            for d in np.ndindex(*[2 * radius + 1] * 3)
            if ((np.add(voxel, d) - radius >= 0) & (np.add(voxel, d) - radius <= last)).all()
        ]
        for channel, (one, other) in enumerate(PAIRS):
            differences = [at(p - radius + neighbour(one)) - at(p - radius + neighbour(other)) for p in patch]
            distances[(channel, *voxel)] = np.mean(np.square(differences))
    noise_level = distances.mean(axis=0)
    noise_level = np.clip(noise_level, noise_level.mean() / 1000, noise_level.mean() * 1000)
    return np.exp(-(distances - distances.min(axis=0)) / noise_level)


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (0, 1), (1, 1)])
def test_descriptors_are_those_of_the_definition(radius, dilation):
    image = noise(1, 1, 5, 6, 4)
    found = mind_ssc(image, radius=radius, dilation=dilation)[0].numpy()
    np.testing.assert_allclose(found, by_definition(image[0, 0].numpy(), radius, dilation), rtol=1e-6, atol=1e-9)


def test_the_pairs_are_the_twelve_edges_of_an_octahedron():
    assert len(PAIRS) == len(set(PAIRS)) == 12
    assert all(one[0] != other[0] for one, other in PAIRS)


def test_inverted_and_remapped_images_look_alike():
    image = textured(16, 16, 16, sigma=2)
    for other in (1 - image, 3 * image + 7):
        torch.testing.assert_close(mind_ssc(other), mind_ssc(image))
    unlike = textured(16, 16, 16, seed=1, sigma=2)
    near, far = (mse(mind_ssc(other), mind_ssc(image)) for other in (image**2, unlike))
    assert near < 0.2 * far


def test_a_constant_image_has_no_context():
    assert torch.equal(mind_ssc(torch.full((1, 1, 6, 5, 4), 0.3)), torch.ones(1, 12, 6, 5, 4))


def test_channels_are_described_one_by_one():
    image = noise(2, 2, 6, 5, 7)
    found = mind_ssc(image)
    assert found.shape == (2, 24, 6, 5, 7)
    torch.testing.assert_close(found[1:, 12:], mind_ssc(image[1:, 1:]))
