/* verify_pem.c - public keys from PEM text (RFC 7468): of keys and of certificates. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "auth/verify_key.h"
#include "base/must.h"

static EVP_PKEY *pem_key_of_certificate(const unsigned char *der, long len)
{
    X509     *certificate = d2i_X509(NULL, &der, len);
    EVP_PKEY *public      = certificate == NULL ? NULL : X509_get_pubkey(certificate);

    X509_free(certificate);
    return public;
}

/* NULL: `why` says what is wrong. */
static EVP_PKEY *pem_key_of_block(const char *name, const unsigned char *der, long len, struct buf *why)
{
    EVP_PKEY *public = NULL;

    if (strstr(name, "PRIVATE KEY") != NULL) {
        buf_put_lit(why, "it holds a private key, which only the issuer may have; take the public one (openssl pkey -in "
                         "FILE -pubout)");
        return NULL;
    }
    if (strcmp(name, PEM_STRING_PUBLIC) == 0)
        public = d2i_PUBKEY(NULL, &der, len);
    else if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0)
        public = d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, len);
    else if (strcmp(name, PEM_STRING_X509) == 0)
        public = pem_key_of_certificate(der, len);
    if (public == NULL)
        buf_put_lit(why, "it holds a PEM block that is no public key and no certificate, or a broken one");
    return public;
}

static bool pem_add(struct verify_keys *keys, struct authority *above, unsigned algorithms, EVP_PKEY *public,
                    struct buf *why)
{
    struct key_material material = { .public = public };
    return verify_key_sort(public, &material.sort, why) && verify_keys_add(keys, above, algorithms, &material, why);
}

/* One block after the other. *ret_found counts them. */
static bool pem_add_all(struct verify_keys *keys, struct authority *above, unsigned algorithms, BIO *bio, size_t *ret_found,
                        struct buf *why)
{
    char          *name = NULL, *header = NULL;
    unsigned char *der  = NULL;
    long           len  = 0;
    bool           is_good = true;

    while (is_good && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        EVP_PKEY *public = pem_key_of_block(name, der, len, why);
        is_good          = public != NULL && pem_add(keys, above, algorithms, public, why);
        EVP_PKEY_free(public);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
        ++*ret_found;
    }
    ERR_clear_error();
    return is_good;
}

bool verify_keys_of_pem(struct verify_keys *keys, struct authority *above, unsigned algorithms, struct span text,
                        struct buf *why)
{
    BIO   *bio   = BIO_new_mem_buf(text.at, (int)text.len);
    size_t found = 0;

    must(bio != NULL);
    bool is_good = pem_add_all(keys, above, algorithms, bio, &found, why);
    BIO_free(bio);
    if (is_good && found == 0)
        buf_put_lit(why, "it holds no PEM block (-----BEGIN PUBLIC KEY-----)");
    return is_good && found > 0;
}
