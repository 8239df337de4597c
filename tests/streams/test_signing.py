"""Keys: made once, readable by their owner only, and shared with the guest in one format."""

import msgspec
import pytest
from tminus_client import keys as guest

from streams import signing
from streams.signing import CLAIM_DOMAIN, CONTROL_DOMAIN, KeyFileError
from tests import clients  # noqa: F401  (puts the guest on the path)


def test_a_generated_key_signs_what_both_sides_verify(tmp_path):
    signer = signing.generate(tmp_path)
    value = b'{"a":1}'
    headers = signing.load(tmp_path / "control.key").headers(CONTROL_DOMAIN, value)
    assert signing.load_public(tmp_path / "control.pub").is_signed(CONTROL_DOMAIN, value, headers, now_us=5)
    pinned = guest.load(tmp_path / "control.pub")[signer.kid]
    assert guest.ed25519_verify(pinned.public, CONTROL_DOMAIN + value, headers[0][1])
    assert guest.kid_of(pinned.public) == signer.kid


def test_a_signature_counts_for_its_purpose_and_time_only(tmp_path):
    signer = signing.generate(tmp_path)
    keys = signing.PublicKeys({signer.kid: signer.public_key(10, 20)})
    headers = signer.headers(CONTROL_DOMAIN, b"x")
    assert [keys.is_signed(CONTROL_DOMAIN, b"x", headers, now_us=t) for t in (9, 10, 19, 20, None)] == [
        False, True, True, False, True,
    ]  # fmt: skip
    assert not keys.is_signed(CLAIM_DOMAIN, b"x", headers, now_us=None)
    assert not keys.is_signed(CONTROL_DOMAIN, b"x", headers * 2, now_us=None)
    assert not keys.is_signed(CONTROL_DOMAIN, b"x", None, now_us=None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path, mode):
    """Whoever can read it can command every serving node."""
    signing.generate(tmp_path)
    (tmp_path / "control.key").chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        signing.load(tmp_path / "control.key")


def test_an_existing_key_is_not_overwritten(tmp_path):
    signing.generate(tmp_path)
    with pytest.raises(KeyFileError, match="found one"):
        signing.generate(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"keys":[]}', b'{"kid":"a","seed":"zz"}', b'{"kid":"a","seed":"00"}'])
def test_damaged_key_files_are_named_and_never_quoted(tmp_path, text):
    path = tmp_path / "damaged"
    path.write_bytes(text)
    path.chmod(0o600)
    for load in (signing.load, signing.load_public):
        with pytest.raises(KeyFileError, match="damaged") as refused:
            load(path)
        assert "seed" not in str(refused.value)
    with pytest.raises(guest.KeysError, match="damaged"):
        guest.load(path)


def test_a_public_key_under_a_wrong_id_is_refused(tmp_path):
    signer = signing.generate(tmp_path)
    key = msgspec.structs.replace(signer.public_key(), kid="0" * 16)
    signing.save_public(tmp_path / "wrong.pub", [key])
    with pytest.raises(KeyFileError, match="wrong ids"):
        signing.load_public(tmp_path / "wrong.pub")
    with pytest.raises(guest.KeysError):
        guest.load(tmp_path / "wrong.pub")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(KeyFileError, match="nowhere"):
        signing.load(tmp_path / "nowhere")
    with pytest.raises(guest.KeysError, match="nowhere"):
        guest.load(tmp_path / "nowhere")


def test_a_secret_shows_in_no_message(tmp_path):
    signer = signing.generate(tmp_path)
    seed = signer._key.encode().hex()
    secret = msgspec.json.decode((tmp_path / "control.key").read_bytes(), type=signing._SecretKey)
    assert seed not in repr(secret)
    assert seed not in repr(signer)
