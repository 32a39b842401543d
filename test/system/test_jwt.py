"""Tokens of users (threats 101, 102): signed by PyJWT, a foreign maker, with every algorithm that is taken."""
import base64
import contextlib
import hashlib
import hmac
import json
import re
import subprocess
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from longwire_client import Api
from longwire_server import LONGWIRE, LONGWIRED, Server, is_built
from waiting import SECONDS

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

SECRET = "a-secret-of-the-issuer-0123456789-abcdef-0123456789-abcdef-0123456789"
KEYS = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()), "EdDSA": ed25519.Ed25519PrivateKey.generate()}
KEYS |= {"RS384": KEYS["RS256"], "RS512": KEYS["RS256"], "PS256": KEYS["RS256"]}
OTHERS = {"RS256": rsa.generate_private_key(65537, 2048), "ES256": ec.generate_private_key(ec.SECP256R1())}


def public_pem(private):
    return private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def token(key=SECRET, algorithm="HS256", headers=None, **claims):
    claims = {"sub": "ann", "exp": int(time.time()) + 600, **claims}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm, headers)


def ask(server, bearer, channel="user:ann"):
    """The status of a read of the user's own channel, the reason, and the header of a refusal."""
    with contextlib.closing(Api(server.url, bearer)) as api:
        answer = api.get(f"/v1/channels/{channel}/messages")
        return answer.status, answer.json.get("detail"), answer.headers["WWW-Authenticate"]


@contextlib.contextmanager
def issuer(lines, tmp_path=None, more="", **kinds):
    with Server(config=f"[jwt app]\n{lines}\n{more}", flags=["--store", "memory"], **kinds) as server:
        yield server


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header, claims, sign):
    head = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{head}.{b64(sign(head.encode()))}"


def hs256(secret):
    return lambda head: hmac.new(secret, head, hashlib.sha256).digest()


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_shared_secret(algorithm):
    with issuer(f"algorithms = {algorithm}\nsecret = {SECRET}") as server:
        assert ask(server, token(algorithm=algorithm))[0] == 200
        status, why, header = ask(server, token("another-secret-of-somebody-else-0123456789", algorithm))
        assert (status, why, header) == (401, "the token's signature is wrong", 'Bearer error="invalid_token"')
        for other in {"HS256", "HS384", "HS512"} - {algorithm}:
            assert ask(server, token(algorithm=other))[:2] == (
                401, "no key for this token is known here: see its alg, kid and iss")


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_public_key(algorithm, tmp_path):
    (tmp_path / "key.pem").write_bytes(public_pem(KEYS[algorithm]))
    with issuer(f"algorithms = {algorithm}\nkey_file = {tmp_path}/key.pem") as server:
        good = token(KEYS[algorithm], algorithm)
        assert ask(server, good)[0] == 200
        head, claims, signature = good.split(".")
        flipped = ("A" if signature[5] != "A" else "B").join((signature[:5], signature[6:]))
        for bad in (f"{head}.{claims}.{flipped}", f"{head}.{claims}.{b64(b'x' * 64)}", f"{head}.{claims}.{b64(bytes(64))}"):
            assert ask(server, bad)[:2] == (401, "the token's signature is wrong")
        assert ask(server, f"{head}.{claims}.{signature[:-4]}")[0] == 401
        # The public key taken for a secret.
        confused = raw({"alg": "HS256"}, {"sub": "ann", "exp": 4e9}, hs256(public_pem(KEYS[algorithm])))
        assert ask(server, confused)[0] == 401


@pytest.mark.parametrize("name, header", [
    ("none", {"alg": "none"}), ("None", {"alg": "None"}), ("nOnE", {"alg": "nOnE"}), ("no alg", {}),
    ("alg is a number", {"alg": 7}), ("in small letters", {"alg": "hs256"}), ("a list", {"alg": ["HS256"]}),
    ("critical", {"alg": "HS256", "crit": ["exp"]}), ("kid is an object", {"alg": "HS256", "kid": {}}),
    ("kid is long", {"alg": "HS256", "kid": "k" * 129}),
])
def test_a_header_that_is_not_taken(name, header):
    claims = {"sub": "ann", "exp": time.time() + 600}
    with issuer(f"secret = {SECRET}") as server:
        signed = raw(header, claims, hs256(SECRET.encode()))
        assert ask(server, signed)[0] == 401, name
        assert ask(server, signed.rsplit(".", 1)[0] + ".")[0] == 401
        assert ask(server, signed.rsplit(".", 1)[0])[0] == 401


def test_keys_in_the_token_are_never_looked_at(tmp_path):
    """A header that brings its own key, or names a place where it is, or a kid that is a path (threat 101)."""
    (tmp_path / "key.pem").write_bytes(public_pem(KEYS["RS256"]))
    other = OTHERS["RS256"]
    numbers = other.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    with issuer(f"key_file = {tmp_path}/key.pem") as server:
        for headers in ({"jwk": jwk}, {"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"},
                        {"kid": "../../../dev/null"}, {"kid": "' or 1=1"}, {"x5c": ["AAAA"]}):
            assert ask(server, token(other, "RS256", headers))[:2] == (401, "the token's signature is wrong")
        assert ask(server, token(KEYS["RS256"], "RS256", {"kid": "any", "jwk": jwk}))[0] == 200


class At(int):
    """So many seconds from the moment of the test."""


CLAIMS = {
    "expired": ({"exp": At(-31)}, "the token has expired"),
    "expired, within the leeway": ({"exp": At(-10)}, None),
    "no exp": ({"exp": None}, "the token has no exp: it must end some time"),
    "exp is a string": ({"exp": "2100"}, "exp, nbf and iat of a token are numbers of seconds since 1970"),
    "exp is negative": ({"exp": -1}, "exp, nbf and iat of a token are numbers of seconds since 1970"),
    "exp is huge": ({"exp": 10**13}, "exp, nbf and iat of a token are numbers of seconds since 1970"),
    "exp has a fraction": ({"exp": 1e10 + 0.5}, None),
    "too early": ({"nbf": At(300)}, "the token is not valid yet (nbf)"),
    "early, within the leeway": ({"nbf": At(20)}, None),
    "issued in the future": ({"iat": At(300)}, "the token was issued in the future (iat); are the clocks right?"),
    "issued long ago": ({"iat": At(-(40 * 86400)), "exp": At(600)},
                        "the token was issued longer ago than token_life_s_max"),
    "lives long": ({"iat": At(-86400), "exp": At(10 * 365 * 86400)}, None),
    "no sub": ({"sub": None}, "the token's sub is no user's name"),
    "sub is empty": ({"sub": ""}, "the token's sub is no user's name"),
    "sub is a number": ({"sub": 7}, "the token's sub is no user's name"),
    "sub has a slash": ({"sub": "ann/phone"}, "the token's sub is no user's name"),
    "sub is long": ({"sub": "a" * 129}, "the token's sub is no user's name"),
    "device": ({"device": "phone"}, None),
    "device is empty": ({"device": ""}, "the token's device is no device's name"),
    "device is a list": ({"device": ["a"]}, "the token's device is no device's name"),
    "another issuer": ({"iss": "https://evil.example"}, "no key for this token is known here"),
    "no issuer": ({"iss": None}, "no key for this token is known here"),
    "another audience": ({"aud": "other"}, "the token is for another audience (aud)"),
    "no audience": ({"aud": None}, "the token is for another audience (aud)"),
    "one of the audiences": ({"aud": ["other", "push"]}, None),
    "an audience that is a number": ({"aud": 7}, "the token is for another audience (aud)"),
    "grants": ({"channels": [{"match": "topic:*", "can": ["publish", "history"]}]}, None),
    "no grants": ({"channels": []}, None),
    "grants are an object": ({"channels": {}}, "`channels` is a list of grants"),
    "a grant is a string": ({"channels": ["topic:*"]}, "a grant is an object"),
    "a grant without match": ({"channels": [{"can": ["publish"]}]}, "`match` of a grant"),
    "a grant without can": ({"channels": [{"match": "*"}]}, "a grant has `can`"),
    "a grant of something else": ({"channels": [{"match": "*", "can": ["admin"]}]}, "`can` of a grant has a word"),
    "too many stars": ({"channels": [{"match": "*********", "can": ["publish"]}]}, "`match` of a grant"),
    "many grants": ({"channels": [{"match": "a:*", "can": ["publish"]}] * 100}, None),
    "too many grants": ({"channels": [{"match": "a:*", "can": ["publish"]}] * 101}, "there are more than 100 grants"),
}


@pytest.fixture(scope="module")
def strict():
    with issuer(f"secret = {SECRET}\nissuer = https://id.example\naudience = push") as server:
        yield server


@pytest.mark.parametrize("name", CLAIMS)
def test_claims(strict, name):
    claims, wanted = CLAIMS[name]
    claims = {name: int(time.time()) + value if isinstance(value, At) else value for name, value in claims.items()}
    status, why, header = ask(strict, token(**{"iss": "https://id.example", "aud": "push", **claims}))
    if wanted is None:
        assert status == 200, why
    else:
        assert status == 401 and why.startswith(wanted) and header == 'Bearer error="invalid_token"', why


@pytest.mark.parametrize("claims", [
    b'{"sub":"ann","exp":1e400}', b'{"sub":"ann","exp":1e4}', b'{"sub":"ann","sub":"bob","exp":4e9}', b"[]", b"7", b"", b"{",
    b'{"sub":"\xff","exp":4e9}', b'{"sub":"a\\u0000","exp":4e9}', b'{"exp":4e9,"sub":"\\ud800"}', b'{"a":' * 100 + b"1" + b"}" * 100,
])
def test_claims_that_are_no_claims(claims):
    head = f"{b64(b'{}'.replace(b'{}', json.dumps({'alg': 'HS256'}).encode()))}.{b64(claims)}"
    with issuer(f"secret = {SECRET}") as server:
        assert ask(server, f"{head}.{b64(hs256(SECRET.encode())(head.encode()))}")[0] == 401


@pytest.mark.parametrize("bad", ["a.b.c", "..", "...", "a.b", "eyJhbGciOiJIUzI1NiJ9..x", "a" * 8000, "." * 5000, "é.é.é"])
def test_what_is_no_token(strict, bad):
    assert ask(strict, bad.encode().decode("latin-1"))[0] == 401


def test_a_token_has_a_maximum(strict):
    good = {"iss": "https://id.example", "aud": "push"}
    assert ask(strict, token(**good, padding="x" * 5000))[0] == 200
    assert ask(strict, token(**good, padding="x" * 6200))[0] == 401
    # Far beyond it, the request's head is too long (threat 101: 1 MB).
    with contextlib.closing(Api(strict.url, token(**good, padding="x" * 60000))) as api:
        assert api.get("/v1/channels/topic:a/messages").status in (401, 431)


def test_several_issuers_and_keys(tmp_path):
    """Which key is meant is told by alg, kid and iss; each checks what it signed, and a section's audience is its own."""
    (tmp_path / "two.pem").write_bytes(public_pem(KEYS["ES256"]) + public_pem(OTHERS["ES256"]))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [
        {"kty": "oct", "kid": "one", "alg": "HS256", "k": b64(b"first-secret-of-the-set-0123456789")},
        {"kty": "oct", "kid": "two", "alg": "HS512", "k": b64(b"second-secret-of-the-set-0123456789")},
        {"kty": "RSA", "use": "enc", "kid": "three", "n": "AQAB", "e": "AQAB"},
        {"kty": "WHO", "kid": "four"}, 7,
        {"kid": "five", "alg": "EdDSA",
         **json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(KEYS["EdDSA"].public_key()))},
        {"kid": "six", **json.loads(jwt.algorithms.ECAlgorithm.to_jwk(KEYS["ES384"].public_key()))
         } if hasattr(jwt.algorithms.ECAlgorithm, "to_jwk") else 8,
        {"kid": "seven", **json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS["RS256"].public_key()))},
    ]}))
    config = f"""[jwt a]
key_file = {tmp_path}/two.pem
issuer = https://a.example
[jwt b]
jwks = {tmp_path}/keys.json
audience = b
[jwt c]
secret = {SECRET}
issuer = https://c.example
"""
    with Server(config=config, flags=["--store", "memory"]) as server:
        good = [token(KEYS["ES256"], "ES256", iss="https://a.example"), token(OTHERS["ES256"], "ES256", iss="https://a.example"),
                token(b"first-secret-of-the-set-0123456789", headers={"kid": "one"}, aud="b"),
                token(b"first-secret-of-the-set-0123456789", aud="b"),
                token(b"second-secret-of-the-set-0123456789", "HS512", {"kid": "two"}, aud=["b"]),
                token(KEYS["EdDSA"], "EdDSA", {"kid": "five"}, aud="b"),
                token(KEYS["RS256"], "RS256", {"kid": "seven"}, aud="b"), token(iss="https://c.example")]
        bad = [token(KEYS["ES256"], "ES256", iss="https://c.example"), token(KEYS["ES256"], "ES256"),
               token(b"first-secret-of-the-set-0123456789", headers={"kid": "two"}, aud="b"),
               token(b"second-secret-of-the-set-0123456789", "HS256", {"kid": "two"}, aud="b"),
               token(b"first-secret-of-the-set-0123456789", headers={"kid": "one"}, aud="c"),
               token(KEYS["RS256"], "PS256", {"kid": "seven"}, aud="b"), token(iss="https://a.example")]
        assert [ask(server, each)[0] for each in good + bad] == [200] * len(good) + [401] * len(bad)


BAD_SECTIONS = {
    "nothing": ("", "one of secret, secret_file, key_file and jwks must be there, and only one"),
    "two": (f"secret = {SECRET}\nkey_file = DIR/rsa.pem", "only one"),
    "none": (f"secret = {SECRET}\nalgorithms = none", "algorithms: there is no none here"),
    "a secret for RS256": (f"secret = {SECRET}\nalgorithms = RS256",
                           "[jwt app]: secret: it holds a secret, which serves HS256, HS384, HS512, but `algorithms` says RS256"),
    "a secret for both": (f"secret = {SECRET}\nalgorithms = HS256, RS256",
                          "[jwt app]: secret: `algorithms` says RS256, but no key serves it"),
    "a public key for HS256": ("key_file = DIR/rsa.pem\nalgorithms = HS256", "it holds an RSA key, which serves RS256"),
    "an EC key for RS256": ("key_file = DIR/ec.pem\nalgorithms = RS256", "it holds an EC key on P-256, which serves ES256"),
    "a private key": ("key_file = DIR/private.pem", "it holds a private key"),
    "a short RSA key": ("key_file = DIR/short.pem", "it holds an RSA key of 1024 bits; 2048 to 8192 are taken"),
    "a curve": ("key_file = DIR/curve.pem", "it holds a key of a kind that is not used here"),
    "no PEM": ("key_file = DIR/keys.json", "it holds no PEM block"),
    "a broken PEM": ("key_file = DIR/broken.pem", "a broken one"),
    "no file": ("key_file = DIR/nothing", "can't be read: No such file or directory"),
    "a directory": ("key_file = DIR", "must be a regular file"),
    "a relative path": ("key_file = key.pem", "key_file must be an absolute path"),
    "a short secret": ("secret = 0123456789", "the secret has 10 bytes; it must have 16 to 512"),
    "a set without keys": ("jwks = DIR/none.json", "it holds no key for a signature that `algorithms` allows"),
    "a set for others": ("jwks = DIR/keys.json\nalgorithms = RS256", "it holds no key for a signature"),
    "no set": ("jwks = DIR/list.json", "it has no list `keys`"),
    "no JSON": ("jwks = DIR/rsa.pem", "it is no JSON"),
    "a relative set": ("jwks = keys.json", "jwks must be an absolute path"),
}


@pytest.mark.parametrize("name", BAD_SECTIONS)
def test_a_section_that_does_not_fit_is_refused_at_the_start(tmp_path, name):
    lines, wanted = BAD_SECTIONS[name]
    (tmp_path / "rsa.pem").write_bytes(public_pem(KEYS["RS256"]))
    (tmp_path / "ec.pem").write_bytes(public_pem(KEYS["ES256"]))
    (tmp_path / "short.pem").write_bytes(public_pem(rsa.generate_private_key(65537, 1024)))
    (tmp_path / "curve.pem").write_bytes(public_pem(ec.generate_private_key(ec.SECP256K1())))
    (tmp_path / "broken.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    (tmp_path / "private.pem").write_bytes(KEYS["ES256"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [{"kty": "oct", "k": b64(SECRET.encode())}]}))
    (tmp_path / "none.json").write_text('{"keys":[]}')
    (tmp_path / "list.json").write_text("[]")
    config = tmp_path / "longwired.conf"
    config.write_text("[jwt app]\n" + lines.replace("DIR", str(tmp_path)) + "\n")
    for more in ([], ["--check"]):
        done = subprocess.run([str(LONGWIRED), "--config", str(config), "--store", "memory", "--http", "127.0.0.1:0", *more],
                              capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 2 and wanted in done.stderr, (more, done)
        assert SECRET not in done.stderr + done.stdout


def test_the_tool_signs_tokens(tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    words = ["token", "--user", "ann", "--device", "phone", "--expires", "10m", "--issuer", "me", "--audience", "push", "--jti", "j",
             "--grant", "topic:a=b*=publish,history", "--grant", "*=presence", "--secret-file", f"{tmp_path}/secret"]
    made = subprocess.run([str(LONGWIRE), *words], capture_output=True, text=True, timeout=SECONDS, check=True).stdout.strip()
    claims = jwt.decode(made, SECRET, ["HS256"], audience="push", issuer="me")
    assert claims["exp"] - claims["iat"] == 600 and (claims["sub"], claims["device"], claims["jti"]) == ("ann", "phone", "j")
    assert claims["channels"] == [{"match": "topic:a=b*", "can": ["publish", "history"]}, {"match": "*", "can": ["presence"]}]
    with issuer(f"secret_file = {tmp_path}/secret\nissuer = me\naudience = push") as server:
        assert ask(server, made)[0] == 200
        with contextlib.closing(Api(server.url, made)) as api:
            assert [api.publish(name, b"x").status for name in ("topic:a=b", "topic:b")] == [201, 403]


@pytest.mark.parametrize("words, why", [
    ([], "for whom, and by which secret?"), (["--user", "a/b", "--secret-file", "x"], "a user's name is"),
    (["--user", "a", "--secret-file", "/nowhere"], "can't be read"), (["--user", "a", "--secret-file", "/dev/null"], "must have 16"),
    (["--user", "a", "--secret-file", "x", "--grant", "x"], "PATTERN=RIGHTS"), (["--user", "a", "--secret-file", "x", "--grant", "x=admin"], "there is no right admin"),
    (["--user", "a", "--secret-file", "x", "--expires", "never"], "--expires takes"),
])
def test_the_tool_says_what_is_wrong(words, why):
    done = subprocess.run([str(LONGWIRE), "token", *words], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 64 and why in done.stderr, done


# --- secrets ---------------------------------------------------------------------------------------------------------

def dumped_memory(pid):
    """What a core dump of the process would hold: its private memory, but for what is marked (dd)."""
    areas, area = [], None
    with open(f"/proc/{pid}/smaps", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmFlags:"):
                if "dd" not in line.split() and "rd" in line.split() and area[2] == "":
                    areas.append(area[:2])
            elif re.match("[0-9a-f]+-[0-9a-f]+ ", line):
                bounds, _, _, _, inode, *name = line.split()
                area = (*(int(bound, 16) for bound in bounds.split("-")), "" if inode == "0" and name in ([], ["[heap]"], ["[stack]"]) else "file")
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, end in areas:
            if end - first < 1 << 30:   # a sanitizer reserves terabytes
                memory.seek(first)
                with contextlib.suppress(OSError):
                    yield memory.read(end - first)


def test_secrets_are_nowhere(tmp_path):
    """Threat 108: neither the log, nor the metrics, nor the configuration in force, nor a core dump has a secret or a token."""
    lines = f"secret = {SECRET}\n[key adm]\nsecret = adm-secret-0123456789\nrights = admin\n"
    with Server(config=f"[jwt app]\n{lines}", flags=["--store", "memory", "--log-level", "debug"]) as server:
        in_core = [secret for secret in (SECRET.encode(), b"adm-secret-0123456789")
                   if any(secret in area for area in dumped_memory(server.pid))]
        tokens = [token(), token(exp=1), token("another-secret-of-somebody-else-0123456789"), "adm-secret-0123456789"]
        for each in tokens:
            ask(server, each)
        with contextlib.closing(Api(server.url, "adm-secret-0123456789")) as api:
            said = server.log() + api.get("/metrics").body.decode()
        config = tmp_path / "longwired.conf"
        config.write_text(f"[jwt app]\n{lines}")
        said += subprocess.run([str(LONGWIRED), "--config", str(config), "--check"], capture_output=True, text=True, timeout=SECONDS, check=True).stdout
        assert not any(each in said for each in [SECRET, *tokens])
        assert in_core == []
