#include "codec/hmac/hmac.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/must.h"

enum { BLOCK_BYTES_LONGEST = 128 };

struct hmac {
    EVP_MD_CTX *inner, *outer, *work;
};

static EVP_MD_CTX *hmac_begin(const EVP_MD *digest, const unsigned char *key, size_t len, unsigned char pad)
{
    unsigned char block[BLOCK_BYTES_LONGEST];
    EVP_MD_CTX   *context = EVP_MD_CTX_new();

    must(context != NULL && len <= sizeof block);
    for (size_t i = 0; i < len; i++)
        block[i] = key[i] ^ pad;
    must(EVP_DigestInit_ex(context, digest, NULL) == 1 && EVP_DigestUpdate(context, block, len) == 1);
    OPENSSL_cleanse(block, sizeof block);
    return context;
}

struct hmac *hmac_new(const char *digest, struct span secret)
{
    EVP_MD       *algorithm = EVP_MD_fetch(NULL, digest, NULL);
    unsigned char key[BLOCK_BYTES_LONGEST] = { 0 };
    struct hmac  *hmac                 = calloc(1, sizeof *hmac);

    must(hmac != NULL && algorithm != NULL);
    size_t len = (size_t)EVP_MD_get_block_size(algorithm);
    must(len <= sizeof key);
    if (secret.len > len)
        must(EVP_Digest(secret.at, secret.len, key, NULL, algorithm, NULL) == 1);
    else if (secret.len > 0)
        memcpy(key, secret.at, secret.len);
    *hmac = (struct hmac){ hmac_begin(algorithm, key, len, 0x36), hmac_begin(algorithm, key, len, 0x5c), EVP_MD_CTX_new() };
    must(hmac->work != NULL);
    OPENSSL_cleanse(key, sizeof key);
    EVP_MD_free(algorithm);
    return hmac;
}

void hmac_free(struct hmac *hmac)
{
    if (hmac == NULL)
        return;
    EVP_MD_CTX_free(hmac->inner);
    EVP_MD_CTX_free(hmac->outer);
    EVP_MD_CTX_free(hmac->work);
    free(hmac);
}

size_t hmac_make(const struct hmac *hmac, struct span text, unsigned char ret[static HMAC_BYTES_LONGEST])
{
    unsigned len = 0;

    must(EVP_MD_CTX_copy_ex(hmac->work, hmac->inner) == 1 && EVP_DigestUpdate(hmac->work, text.at, text.len) == 1 &&
         EVP_DigestFinal_ex(hmac->work, ret, &len) == 1);
    must(EVP_MD_CTX_copy_ex(hmac->work, hmac->outer) == 1 && EVP_DigestUpdate(hmac->work, ret, len) == 1 &&
         EVP_DigestFinal_ex(hmac->work, ret, &len) == 1);
    return len;
}
