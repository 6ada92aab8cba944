"""Scores under encryption are the plain ones, nothing in a message is the vector, and damaged bytes are refused."""

import numpy as np
import pytest

from gnnrec.errors import UserError
from gnnrec.privacy.homomorphic import PARAMETERS, PrivateCatalogue, PrivateUser, Refused, most_bytes

ERROR = 2e-6  # of a score of at most 1; the noise is 1.2e-7, and the worst of thousands some five times that


def plain(items, user):
    items, user = items.astype(float), user.astype(float)
    return items @ user / np.linalg.norm(user) / np.linalg.norm(items, axis=1).max()


@pytest.mark.parametrize(("num_items", "dim"), [(1, 1), (2048, 8), (2049, 8), (4096, 64)])
def test_the_scores_are_the_inner_products(num_items, dim):
    random = np.random.default_rng(num_items)
    items = random.normal(size=(num_items, dim)).astype(np.float32) * 30
    vector = random.normal(size=dim).astype(np.float32) * 7
    user, catalogue = PrivateUser(), PrivateCatalogue(items)
    message = user.encrypt(vector)
    assert 0 < len(message) <= catalogue.most_bytes == most_bytes(dim)
    scores = user.decrypt(catalogue.score(message), num_items)
    assert scores.shape == (num_items,)
    np.testing.assert_allclose(scores, plain(items, vector), atol=ERROR)


def test_dimensions_that_are_zero_everywhere_are_left_out():
    items = np.array([[0.0, 2.0, 0.0], [0.0, -1.0, 0.0]])
    user = PrivateUser()
    scores = user.decrypt(PrivateCatalogue(items).score(user.encrypt(np.array([5.0, 3.0, 4.0]))), 2)
    np.testing.assert_allclose(scores, plain(items, np.array([5.0, 3.0, 4.0])), atol=ERROR)


def test_two_messages_of_one_vector_have_nothing_in_common_and_no_other_key_reads_them():
    vector, items = np.array([3.0, 4.0]), np.eye(2)
    one, other = PrivateUser(), PrivateUser()
    catalogue, message = PrivateCatalogue(items), one.encrypt(vector)
    assert message != one.encrypt(vector)
    answer = catalogue.score(message)
    np.testing.assert_allclose(one.decrypt(answer, 2), [0.6, 0.8], atol=ERROR)
    assert np.abs(other.decrypt(answer, 2) - [0.6, 0.8]).max() > 0.1  # numbers spread over some fifty


def test_the_security_level_is_one_that_seal_checks():
    import tenseal.sealapi as seal

    most = seal.CoeffModulus.MaxBitCount(PARAMETERS.poly_modulus_degree, seal.SEC_LEVEL_TYPE.TC192)
    assert (PARAMETERS.security_bits, most) == (192, 75)
    assert PARAMETERS.modulus_bits <= most
    # Scores of up to 1 at the product's scale lie below half of the modulus, with a bit to spare for the noise.
    assert PARAMETERS.user_scale_bits + PARAMETERS.item_scale_bits + 2 <= PARAMETERS.modulus_bits


def test_what_is_no_message_is_refused():
    user, catalogue = PrivateUser(), PrivateCatalogue(np.eye(2))
    good = user.encrypt(np.array([1.0, 2.0]))
    half = len(good) // 2
    cases = {
        "found 0 ciphertexts; allowed: 2": b"",
        "ciphertext 1: its length does not fit": good[:-1],
        "found 3 bytes behind 2": good + b"abc",
        "found 1 ciphertexts": good[:half],
        "ciphertext 0: its length": b"\xff" * 4 + good[4:],
        "ciphertext 0: ": good[:4] + bytes(half - 4) + good[half:],
    }
    for reason, message in cases.items():
        with pytest.raises(Refused, match=reason):
            catalogue.score(message)
    with pytest.raises(Refused, match="of another kind"):
        catalogue.score(catalogue.score(good) * 2)  # at the scale of a product
    with pytest.raises(Refused, match="found 1 ciphertexts; allowed: 2"):
        user.decrypt(catalogue.score(good), PARAMETERS.slots + 1)


@pytest.mark.parametrize("vector", [np.zeros(3), np.array([1.0, np.nan]), np.ones((2, 2))])
def test_a_vector_without_a_direction_is_an_error(vector):
    with pytest.raises(UserError, match="the user's vector: found shape"):
        PrivateUser().encrypt(vector)


@pytest.mark.parametrize(("items", "reason"), [(np.zeros((3, 2)), "zeros"), (np.array([[np.nan, 1.0]]), "not finite")])
def test_items_that_cannot_be_scored_are_an_error(items, reason):
    with pytest.raises(UserError, match=reason):
        PrivateCatalogue(items)
