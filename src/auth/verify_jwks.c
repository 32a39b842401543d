/* verify_jwks.c - keys from a JSON document (RFC 7517, RFC 7518 6, RFC 8037 2). */
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "auth/verify_key.h"
#include "base/base64.h"
#include "base/must.h"
#include "codec/json/json.h"

enum { JWK_PART_BYTES = 2048, JWK_POINT_BYTES = 2 * 48 + 1 };

/* One key that is being read. */
struct jwk {
    const struct json_doc   *doc;
    const struct json_token *object;
    struct buf               strings;
    struct buf               first, second;  /* n and e; x and y; k */
    struct key_material      material;
    unsigned                 algorithms;     /* that it serves */
};

static bool jwk_text(struct jwk *jwk, struct span name, struct span *ret)
{
    *ret = SPAN("");
    return json_string(json_member(jwk->doc, jwk->object, name), &jwk->strings, ret);
}

static bool jwk_bytes(struct jwk *jwk, struct span name, struct buf *ret)
{
    struct span text;

    buf_clear(ret);
    return jwk_text(jwk, name, &text) && base64url_get(text, ret) && ret->len > 0;
}

/* NULL: these parameters make no key. */
static EVP_PKEY *public_of(const char *type, OSSL_PARAM_BLD *build)
{
    OSSL_PARAM   *params  = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY     *public  = NULL;

    must(params != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1);
    if (EVP_PKEY_fromdata(context, &public, EVP_PKEY_PUBLIC_KEY, params) != 1)
        public = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    ERR_clear_error();
    return public;
}

static EVP_PKEY *rsa_of(struct jwk *jwk)
{
    if (!jwk_bytes(jwk, SPAN("n"), &jwk->first) || !jwk_bytes(jwk, SPAN("e"), &jwk->second))
        return NULL;
    BIGNUM         *n     = BN_bin2bn((const unsigned char *)jwk->first.at, (int)jwk->first.len, NULL);
    BIGNUM         *e     = BN_bin2bn((const unsigned char *)jwk->second.at, (int)jwk->second.len, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();

    must(build != NULL && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
         OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1);
    EVP_PKEY *public = public_of("RSA", build);
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return public;
}

/* RFC 7518 6.2.1: x and y are as long as the curve's field. */
static EVP_PKEY *ec_of(struct jwk *jwk, struct span curve)
{
    bool   is_p256 = span_eq(curve, SPAN("P-256"));
    size_t half    = is_p256 ? 32 : 48;

    if ((!is_p256 && !span_eq(curve, SPAN("P-384"))) || !jwk_bytes(jwk, SPAN("x"), &jwk->first) ||
        !jwk_bytes(jwk, SPAN("y"), &jwk->second) || jwk->first.len != half || jwk->second.len != half)
        return NULL;
    unsigned char point[JWK_POINT_BYTES] = { POINT_CONVERSION_UNCOMPRESSED };
    memcpy(point + 1, jwk->first.at, half);
    memcpy(point + 1 + half, jwk->second.at, half);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    must(build != NULL &&
         OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, is_p256 ? "P-256" : "P-384", 0) == 1 &&
         OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 2 * half + 1) == 1);
    EVP_PKEY *public = public_of("EC", build);
    OSSL_PARAM_BLD_free(build);
    return public;
}

static EVP_PKEY *ed25519_of(struct jwk *jwk, struct span curve)
{
    if (!span_eq(curve, SPAN("Ed25519")) || !jwk_bytes(jwk, SPAN("x"), &jwk->first))
        return NULL;
    EVP_PKEY *public = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const unsigned char *)jwk->first.at,
                                                   jwk->first.len);
    ERR_clear_error();
    return public;
}

/* False: it is of a kind that is not used here. */
static bool jwk_read_material(struct jwk *jwk, bool is_secret)
{
    struct key_material *material = &jwk->material;
    struct span          type, curve;
    struct buf           unused;

    if (!jwk_text(jwk, SPAN("kty"), &type))
        return false;
    jwk_text(jwk, SPAN("crv"), &curve);
    if (span_eq(type, SPAN("oct"))) {
        material->sort = KEY_OF_SECRET;
        if (!is_secret || !jwk_bytes(jwk, SPAN("k"), &jwk->first))
            return false;
        material->secret = buf_span(&jwk->first);
        return true;
    }
    if (span_eq(type, SPAN("RSA")))
        material->public = rsa_of(jwk);
    else if (span_eq(type, SPAN("EC")))
        material->public = ec_of(jwk, curve);
    else if (span_eq(type, SPAN("OKP")))
        material->public = ed25519_of(jwk, curve);
    buf_init(&unused, 1024);
    bool is_used = material->public != NULL && verify_key_sort(material->public, &material->sort, &unused);
    buf_fini(&unused);
    return is_used;
}

/* RFC 7517 4.2 to 4.5: what it is for, its algorithm, its name. */
static bool jwk_read_use(struct jwk *jwk)
{
    struct span        use, name;
    enum jwt_algorithm algorithm;

    if (jwk_text(jwk, SPAN("use"), &use) && !span_eq(use, SPAN("sig")))
        return false;
    jwk->algorithms = verify_algorithms_of(jwk->material.sort);
    if (json_member(jwk->doc, jwk->object, SPAN("alg")) != NULL) {
        if (!jwk_text(jwk, SPAN("alg"), &name) || !jwt_algorithm_find(name, &algorithm))
            return false;
        jwk->algorithms &= 1u << algorithm;
    }
    jwk_text(jwk, SPAN("kid"), &jwk->material.kid);
    return jwk->algorithms != 0 && jwk->material.kid.len <= VERIFY_KID_BYTES_MAX &&
           memchr(jwk->material.kid.at, '\0', jwk->material.kid.len) == NULL;
}

/* What can't be used is passed over (RFC 7517 5). False: there is no room. */
static bool jwk_add(struct verify_keys *keys, struct authority *above, unsigned algorithms, bool is_secret,
                    struct jwk *jwk, struct buf *why)
{
    bool is_named = json_member(jwk->doc, jwk->object, SPAN("alg")) != NULL;

    if (!jwk_read_material(jwk, is_secret) || !jwk_read_use(jwk))
        return true;
    unsigned wanted = algorithms != 0 ? algorithms & jwk->algorithms : is_named ? jwk->algorithms : 0;
    return (algorithms != 0 && wanted == 0) || verify_keys_add(keys, above, wanted, &jwk->material, why);
}

static bool jwk_take(struct verify_keys *keys, struct authority *above, unsigned algorithms, bool is_secret,
                     const struct json_doc *doc, const struct json_token *object, struct buf *why)
{
    struct jwk jwk = { .doc = doc, .object = object };

    buf_init(&jwk.strings, 64 * 1024);
    buf_init(&jwk.first, JWK_PART_BYTES);
    buf_init(&jwk.second, JWK_PART_BYTES);
    /* No string of the object is longer than the object. So, once there is room for that, what was decoded does not
     * move. */
    bool has_room = object->type == JSON_OBJECT && buf_extend(&jwk.strings, object->raw.len) != NULL;
    buf_clear(&jwk.strings);
    bool is_good = !has_room || jwk_add(keys, above, algorithms, is_secret, &jwk, why);
    EVP_PKEY_free(jwk.material.public);
    if (jwk.first.at != NULL)
        OPENSSL_cleanse(jwk.first.at, jwk.first.cap);
    buf_fini(&jwk.strings);
    buf_fini(&jwk.first);
    buf_fini(&jwk.second);
    return is_good;
}

static bool jwks_take(struct verify_keys *keys, struct authority *above, unsigned algorithms, bool is_secret,
                      const struct json_doc *doc, struct buf *why)
{
    const struct json_token *list   = json_member(doc, json_root(doc), SPAN("keys"));
    size_t                   before = keys->count;

    if (list == NULL || list->type != JSON_ARRAY) {
        buf_put_lit(why, "it has no list `keys`");
        return false;
    }
    for (const struct json_token *at = json_first(doc, list); at != NULL; at = json_next(doc, list, at))
        if (!jwk_take(keys, above, algorithms, is_secret, doc, at, why))
            return false;
    if (keys->count == before)
        buf_put_lit(why, "it holds no key for a signature that `algorithms` allows");
    return keys->count > before;
}

bool verify_keys_of_jwks(struct verify_keys *keys, struct authority *above, unsigned algorithms, bool is_secret,
                         struct span document, struct buf *why)
{
    static const struct json_limits limits = { .depth_max = 16, .depth_kept = 3, .tokens_max = 8192 };
    struct json_doc                 doc;

    json_doc_init(&doc);
    bool is_json = json_parse(json_skip_mark(document), &limits, &doc);
    bool is_good = is_json && jwks_take(keys, above, algorithms, is_secret, &doc, why);
    if (!is_json) {
        char text[JSON_FAULT_BYTES];
        buf_put(why, span_str(json_fault_say("it is no JSON", &doc.fault, text)));
    }
    json_doc_fini(&doc);
    return is_good;
}
