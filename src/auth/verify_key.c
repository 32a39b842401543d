#include "auth/verify_key.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include "base/must.h"
#include "codec/hmac/hmac.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, ECDSA_HALF_BYTES = 48, HASH_BYTES = 64 };

/* --- what is checked how ---------------------------------------------------------------------------------------- */

static const struct algorithm_row {
    enum key_sort   sort;
    const char     *digest;      /* NULL: the algorithm has its own */
    bool            is_pss;
    size_t          half_bytes;  /* of an ECDSA signature, which is r and s, one behind the other (RFC 7518 3.4) */
} algorithm_rows[JWT_ALGORITHM_COUNT] = {
    [JWT_HS256] = { KEY_OF_SECRET, "SHA256", false, 0 }, [JWT_HS384] = { KEY_OF_SECRET, "SHA384", false, 0 },
    [JWT_HS512] = { KEY_OF_SECRET, "SHA512", false, 0 }, [JWT_RS256] = { KEY_OF_RSA, "SHA256", false, 0 },
    [JWT_RS384] = { KEY_OF_RSA, "SHA384", false, 0 },    [JWT_RS512] = { KEY_OF_RSA, "SHA512", false, 0 },
    [JWT_PS256] = { KEY_OF_RSA, "SHA256", true, 0 },     [JWT_ES256] = { KEY_OF_P256, "SHA256", false, 32 },
    [JWT_ES384] = { KEY_OF_P384, "SHA384", false, 48 },  [JWT_EDDSA] = { KEY_OF_ED25519, NULL, false, 0 },
};

static const struct { const char *what; enum jwt_algorithm by_default; } sort_rows[] = {
    [KEY_OF_SECRET]  = { "a secret", JWT_HS256 },           [KEY_OF_RSA]     = { "an RSA key", JWT_RS256 },
    [KEY_OF_P256]    = { "an EC key on P-256", JWT_ES256 }, [KEY_OF_P384]    = { "an EC key on P-384", JWT_ES384 },
    [KEY_OF_ED25519] = { "an Ed25519 key", JWT_EDDSA },
};

unsigned verify_algorithms_of(enum key_sort sort)
{
    unsigned algorithms = 0;

    for (int i = 0; i < JWT_ALGORITHM_COUNT; i++)
        if (algorithm_rows[i].sort == sort)
            algorithms |= 1u << i;
    return algorithms;
}

/* --- making keys ------------------------------------------------------------------------------------------------ */

/* What a signature is checked with: the key, and what makes the hash. */
struct signature_context {
    EVP_PKEY_CTX *verifying;
    EVP_MD       *digest;
};

static void *signature_context_new(const struct algorithm_row *row, EVP_PKEY *public)
{
    struct signature_context *context = calloc(1, sizeof *context);

    must(context != NULL);
    *context = (struct signature_context){ EVP_PKEY_CTX_new(public, NULL), EVP_MD_fetch(NULL, row->digest, NULL) };
    must(context->digest != NULL && context->verifying != NULL && EVP_PKEY_verify_init(context->verifying) == 1);
    if (row->sort == KEY_OF_RSA)
        must(EVP_PKEY_CTX_set_rsa_padding(context->verifying, row->is_pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) == 1);
    must(EVP_PKEY_CTX_set_signature_md(context->verifying, context->digest) == 1);
    if (row->is_pss)
        must(EVP_PKEY_CTX_set_rsa_pss_saltlen(context->verifying, RSA_PSS_SALTLEN_DIGEST) == 1);
    return context;
}

static void signature_context_free(struct signature_context *context)
{
    EVP_PKEY_CTX_free(context->verifying);
    EVP_MD_free(context->digest);
    free(context);
}

/* Ed25519 hashes by itself, and its context takes one text: the key is kept, and a context made for each. */
static void *key_context_new(const struct algorithm_row *row, const struct key_material *material)
{
    if (row->sort == KEY_OF_SECRET)
        return hmac_new(row->digest, material->secret);
    if (row->sort != KEY_OF_ED25519)
        return signature_context_new(row, material->public);
    must(EVP_PKEY_up_ref(material->public) == 1);
    return material->public;
}

static void key_print(const struct key_material *material, unsigned char *ret)
{
    unsigned char *der = NULL;

    if (material->sort == KEY_OF_SECRET) {
        SHA256((const unsigned char *)material->secret.at, material->secret.len, ret);
        return;
    }
    int len = i2d_PUBKEY(material->public, &der);
    must(len > 0);
    SHA256(der, (size_t)len, ret);
    OPENSSL_free(der);
}

/* False: there are VERIFY_KEYS_MAX. */
static bool key_add(struct verify_keys *keys, struct authority *above, enum jwt_algorithm algorithm,
                    const struct key_material *material)
{
    if (keys->count == VERIFY_KEYS_MAX)
        return false;
    struct verify_key *key = &keys->at[keys->count++];
    *key = (struct verify_key){ .algorithm = algorithm, .authority = authority_new(above),
                                .context = key_context_new(&algorithm_rows[algorithm], material) };
    must(material->kid.len <= VERIFY_KID_BYTES_MAX);
    if (material->kid.len > 0)
        memcpy(key->kid, material->kid.at, material->kid.len);
    key_print(material, key->print);
    return true;
}

static void algorithms_put(unsigned algorithms, struct buf *out)
{
    const char *comma = "";

    for (int i = 0; i < JWT_ALGORITHM_COUNT; i++) {
        if ((algorithms & 1u << i) == 0)
            continue;
        buf_putf(out, "%s%s", comma, jwt_algorithm_name((enum jwt_algorithm)i));
        comma = ", ";
    }
}

bool verify_keys_add(struct verify_keys *keys, struct authority *above, unsigned algorithms,
                     const struct key_material *material, struct buf *why)
{
    unsigned of_sort = verify_algorithms_of(material->sort);
    unsigned taken   = algorithms == 0 ? 1u << sort_rows[material->sort].by_default : algorithms & of_sort;

    if (taken == 0) {
        buf_putf(why, "it holds %s, which serves ", sort_rows[material->sort].what);
        algorithms_put(of_sort, why);
        buf_put_lit(why, ", but `algorithms` says ");
        algorithms_put(algorithms, why);
        return false;
    }
    for (int i = 0; i < JWT_ALGORITHM_COUNT; i++)
        if ((taken & 1u << i) != 0 && !key_add(keys, above, (enum jwt_algorithm)i, material)) {
            buf_putf(why, "there may be at most %d keys (one for each algorithm that it serves)", VERIFY_KEYS_MAX);
            return false;
        }
    return true;
}

bool verify_key_sort(EVP_PKEY *public, enum key_sort *ret, struct buf *why)
{
    char   group[32] = "";
    size_t len       = 0;
    int    bits      = EVP_PKEY_get_bits(public);

    if (EVP_PKEY_is_a(public, "RSA")) {
        if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
            buf_putf(why, "it holds an RSA key of %d bits; %d to %d are taken", bits, RSA_BITS_MIN, RSA_BITS_MAX);
            return false;
        }
        *ret = KEY_OF_RSA;
        return true;
    }
    if (EVP_PKEY_is_a(public, "ED25519")) {
        *ret = KEY_OF_ED25519;
        return true;
    }
    if (EVP_PKEY_is_a(public, "EC") && EVP_PKEY_get_group_name(public, group, sizeof group, &len) == 1) {
        bool is_p256 = strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0;
        if (is_p256 || strcmp(group, "secp384r1") == 0 || strcmp(group, "P-384") == 0) {
            *ret = is_p256 ? KEY_OF_P256 : KEY_OF_P384;
            return true;
        }
    }
    buf_put_lit(why, "it holds a key of a kind that is not used here: take RSA, EC on P-256 or P-384, or Ed25519");
    return false;
}

bool verify_keys_of_secret(struct verify_keys *keys, struct authority *above, unsigned algorithms, struct span secret,
                           struct buf *why)
{
    return verify_keys_add(keys, above, algorithms,
                           &(struct key_material){ .sort = KEY_OF_SECRET, .secret = secret }, why);
}

static void context_free(const struct verify_key *key)
{
    switch (algorithm_rows[key->algorithm].sort) {
    case KEY_OF_SECRET: hmac_free(key->context); break;
    case KEY_OF_ED25519: EVP_PKEY_free(key->context); break;
    case KEY_OF_RSA:
    case KEY_OF_P256:
    case KEY_OF_P384: signature_context_free(key->context); break;
    }
}

void verify_keys_fini(struct verify_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        context_free(&keys->at[i]);
        authority_unref(keys->at[i].authority);
    }
    keys->count = 0;
}

/* --- checking --------------------------------------------------------------------------------------------------- */

static bool hmac_fits(const struct verify_key *key, struct span text, struct span signature)
{
    unsigned char made[HMAC_BYTES_LONGEST];
    size_t        len = hmac_make(key->context, text, made);

    return signature.len == len && CRYPTO_memcmp(made, signature.at, len) == 0;
}

/* r and s as the DER that OpenSSL reads. 0: it is no such signature. */
static int ecdsa_to_der(const struct algorithm_row *row, struct span signature, unsigned char *ret)
{
    if (signature.len != 2 * row->half_bytes)
        return 0;
    const unsigned char *bytes = (const unsigned char *)signature.at;
    ECDSA_SIG           *both  = ECDSA_SIG_new();
    must(both != NULL && ECDSA_SIG_set0(both, BN_bin2bn(bytes, (int)row->half_bytes, NULL),
                                        BN_bin2bn(bytes + row->half_bytes, (int)row->half_bytes, NULL)) == 1);
    unsigned char *at  = ret;
    int            len = i2d_ECDSA_SIG(both, &at);
    ECDSA_SIG_free(both);
    return len < 0 ? 0 : len;
}

static bool signature_fits(const struct verify_key *key, struct span text, struct span signature)
{
    const struct algorithm_row *row = &algorithm_rows[key->algorithm];
    unsigned char               hash[HASH_BYTES], der[2 * ECDSA_HALF_BYTES + 16];
    const struct signature_context *context = key->context;
    unsigned                    hash_len = 0;
    const unsigned char        *bytes    = (const unsigned char *)signature.at;
    size_t                      len      = signature.len;

    if (row->half_bytes > 0) {
        int der_len = ecdsa_to_der(row, signature, der);
        if (der_len == 0)
            return false;
        bytes = der;
        len   = (size_t)der_len;
    }
    return EVP_Digest(text.at, text.len, hash, &hash_len, context->digest, NULL) == 1 &&
           EVP_PKEY_verify(context->verifying, bytes, len, hash, hash_len) == 1;
}

static bool ed25519_fits(const struct verify_key *key, struct span text, struct span signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    must(context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->context) == 1);
    bool fits = EVP_DigestVerify(context, (const unsigned char *)signature.at, signature.len,
                                 (const unsigned char *)text.at, text.len) == 1;
    EVP_MD_CTX_free(context);
    return fits;
}

bool verify_key_fits(const struct verify_key *key, struct span signed_part, struct span signature)
{
    switch (algorithm_rows[key->algorithm].sort) {
    case KEY_OF_SECRET: return hmac_fits(key, signed_part, signature);
    case KEY_OF_ED25519: return ed25519_fits(key, signed_part, signature);
    case KEY_OF_RSA:
    case KEY_OF_P256:
    case KEY_OF_P384: break;
    }
    return signature_fits(key, signed_part, signature);
}

/* --- a change of keys ------------------------------------------------------------------------------------------- */

static bool key_is_same(const struct verify_key *one, const struct verify_key *other)
{
    return one->algorithm == other->algorithm && strcmp(one->kid, other->kid) == 0 &&
           memcmp(one->print, other->print, KEY_PRINT_BYTES) == 0;
}

void verify_keys_take_over(struct verify_keys *now, struct verify_keys *before)
{
    for (size_t i = 0; i < now->count; i++)
        for (size_t at = 0; at < before->count; at++)
            if (before->at[at].authority != NULL && key_is_same(&now->at[i], &before->at[at])) {
                authority_unref(now->at[i].authority);
                now->at[i].authority     = before->at[at].authority;
                before->at[at].authority = NULL;
                break;
            }
}
